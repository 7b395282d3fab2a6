package ppo

import "fmt"

// SupervisedResult is the part that one micro-batch adds to the loss of an optimizer step.
type SupervisedResult struct {
	Loss     float64
	DLogProb Ragged // ∂Loss/∂logProb [S][T_s], 0 outside the loss mask
	Tokens   int    // tokens in the loss
}

// SupervisedLoss is the negative log-likelihood of supervised fine-tuning, L = -1/n Σ logProb over the tokens in the loss.
//
// logProb [S][T_s], inLoss [S][T_s] says which tokens count (nil: all). n is the number of loss tokens of the whole
// optimizer step; the arguments may be any part of it.
func SupervisedLoss(logProb Ragged, inLoss [][]bool, denominator int) (SupervisedResult, error) {
	if inLoss != nil {
		if len(inLoss) != len(logProb) {
			return SupervisedResult{}, fmt.Errorf("ppo: supervised loss: %d masks for %d sequences", len(inLoss), len(logProb))
		}
		for s, row := range logProb {
			if len(inLoss[s]) != len(row) {
				return SupervisedResult{}, fmt.Errorf("ppo: supervised loss: sequence %d has %d log-probs but a mask of %d", s, len(row), len(inLoss[s]))
			}
		}
	}
	out := SupervisedResult{DLogProb: logProb.zeros()}
	n := float64(denominator)
	sum := 0.0
	for s, row := range logProb {
		for t, l := range row {
			if inLoss == nil || inLoss[s][t] {
				out.Tokens++
				sum += l
				out.DLogProb[s][t] = -1 / n
			}
		}
	}
	if err := checkDenominator("supervised loss", "tokens", out.Tokens, denominator); err != nil {
		return SupervisedResult{}, err
	}
	if out.Tokens > 0 {
		out.Loss = -sum / n
	}
	return out, nil
}
