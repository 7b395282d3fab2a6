// Package rollout turns prompts into trajectories by continuous batching over a paged key/value cache.
//
// The Scheduler is a pure state machine: chosen tokens in, the next ragged batch out, no I/O and no clock, so all ranks of a
// replica run it in step. Generate drives it with an executor. Every random number is addressed by (seed, iteration, sequence,
// token): trajectories do not depend on the number of slots, on the order of completion, or on the other sequences.
//
// Prompts that begin alike, such as those of several responses to one prompt, share pages: what they have in common is computed
// once, in whole pages.
package rollout
