// Package ppo is the mathematics of PPO from human feedback: rewards, advantages, whitening, losses and their gradients,
// as pure functions of float64 numbers on the host. Only one number per token leaves the model (a log-prob, a value, an
// entropy), so no function here knows a tensor, a rank or a file, and the backward pass of the model starts from the
// gradients that the losses return.
//
// # Indices
//
// A prompt of P tokens is followed by a response y_0 .. y_{T-1}; T counts the EOD if the response has one, and may be 0.
// Everything per token is a Ragged: one slice of T numbers for each sequence, nothing padded. Entry t of the log-probs is
// log π(y_t | prompt, y_<t). Entry t of the values is the value of the state before y_t, read at the position whose output
// predicts y_t: the last prompt token for t = 0, response token t-1 after that. The state after y_{T-1} has value 0
// whether the response ended by itself or was cut: a response is an episode.
//
// # Batches and denominators
//
// Losses are sums over the tokens given, divided by a denominator that the caller gives: the number of response tokens of
// the optimizer step's mini-batch over all micro-batches and data ranks (Ragged.Tokens, summed). Losses, gradients and
// statistics of the parts therefore just add, and a token's gradient has the same bits however the mini-batch was cut.
// Rewards, advantages and whitening take the trajectories of a whole iteration in rollout order and sum from left to
// right, so their bits depend on nothing else.
//
// # Numbers that are not finite
//
// Nothing panics on NaN or Inf and nothing hides them: they travel into the loss, the statistics and the gradients, and
// the functions that see a whole iteration name the sequences concerned, so that the caller can drop the update.
package ppo
