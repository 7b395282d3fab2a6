package rollout

import "fmt"

// Finish says why a response ended. It is explicit: a token id never tells.
type Finish string

// A response ends with the end-of-document token as its last token, or without it where its request says so or at the length limit.
const (
	FinishEOD    Finish = "eod"
	FinishStop   Finish = "stop" // not in replay files, where requests are gone
	FinishLength Finish = "length"
)

// ParseFinish reads what replay files hold.
func ParseFinish(s string) (Finish, error) {
	switch f := Finish(s); f {
	case FinishEOD, FinishLength:
		return f, nil
	}
	return "", fmt.Errorf("rollout: finish %q, want %q or %q", s, FinishEOD, FinishLength)
}

// Trajectory is a prompt and the response that was sampled for it.
type Trajectory struct {
	Sequence int     // index in rollout order; it addresses the random numbers
	Prompt   []int32 // token ids
	Response []int32 // token ids, the end-of-document token included if Finish says so
	Finish   Finish
	// Of each response token, under the distribution that the model had (after temperature): its log-prob, and the entropy in nats.
	// nil if not asked for.
	LogProb, Entropy []float64
	// Slots say where the cache that it was generated in keeps its tokens, all but the last one, which no model has read yet. nil if that
	// keeps nothing.
	Slots []int32
}

// Tokens is prompt and response end to end.
func (t Trajectory) Tokens() []int32 {
	return append(append(make([]int32, 0, len(t.Prompt)+len(t.Response)), t.Prompt...), t.Response...)
}
