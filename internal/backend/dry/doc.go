// Package dry is a device that computes nothing and holds no memory: it counts. Programs run on it unchanged, with the real
// control flow and the real shapes, and leave behind
//
//   - the Peak of each arena, which is the size that the same program needs on a real device, to the byte;
//   - the calls, floating-point operations and bytes of each operation.
//
// Arenas have no limit. Downloads are filled by a Model, which says what tokens are drawn and what scores come out.
//
// What is counted as floating-point operations are the two per multiply-add of matrix products, attention and the
// language-model head, as published utilisation figures count them; recomputation inside an operation is included, the rest
// (normalisation, activation, optimizer) is bound by memory and counts as 0. Bytes are the least that must move: each operand
// once, and twice where it is added to.
package dry
