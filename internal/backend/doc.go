// Package backend says what an accelerator must do. It holds no implementation of any operation.
//
// A Device makes Arenas (memory) and Streams (in-order queues of work). Model code holds a *Stream and writes maths:
//
//	s.LayerNorm(h, mean, rstd, x, gamma, beta, eps)
//	s.MatMul(y, h, w, backend.Epilogue{Bias: b})
//
// A Stream checks the shapes of every call, keeps the first error, and ignores all calls after it; Sync, and the Wait of
// any Event, return that error. So model code has no error handling, and a failure that an accelerator reports late looks
// the same as one that is found at once.
//
// Behind a Stream is a Queue, which is what an accelerator implements: the operations alone, on operands that are known to
// fit together. Every check is thereby written once.
//
// Conventions of all operations:
//   - outputs first, then inputs, then scalars and options;
//   - backward operations add to the gradients of parameters, which several uses share and the optimizer's caller zeroes, and set those
//     of activations; where an activation has two uses that can be told to add (see Into);
//   - weights and activations are stored in the model's precision (float32 or bfloat16; float64 on the reference),
//     arithmetic and everything called "wide" (statistics, log-probs, gradients of parameters) is float32 (float64 on the
//     reference, see Stream.Wide);
//   - an operation handles all rows at once, and what it computes for one row does not depend on the other rows of the call.
//     Backends on which that holds bit for bit say so (Device.BatchInvariant);
//   - outputs do not overlap inputs, except where an operation says so.
package backend
