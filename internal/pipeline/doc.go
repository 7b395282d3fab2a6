// Package pipeline runs a model over micro-batches. Training stages hand it ragged micro-batches and a loss; they never call
// Forward or Backward themselves, so how a step is scheduled over pipeline stages is decided in one place.
//
// An Executor runs the model of one rank. Train goes forward and backward, Score forward only, Decode one step of cached
// generation. The loss is a callback per micro-batch: all outputs of the head in, their gradients out, both on the host.
package pipeline
