// Package rlhf is the three stages of training: supervised fine-tuning, reward modelling, and PPO. Each stage is a file that
// reads like the paper; what they share stands around them:
//
//	run.go       opens everything a run needs, plans its memory, and starts its ranks
//	rank.go      one rank: its groups, memory and models
//	loop.go      steps, evaluation, checkpoints, stopping
//	sft.go, reward.go, ppo.go
//
// The program is SPMD: every rank runs the same code on its own goroutine. Mathematics on the host is done by all of them
// alike, on numbers that they have exchanged in a fixed order, so the trajectories, scores, rewards and advantages of a run do
// not depend on how many data ranks it has.
package rlhf
