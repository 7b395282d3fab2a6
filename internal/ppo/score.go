package ppo

import "fmt"

// MissingEOD says what a response that was cut by its length limit, and so has no EOD, is worth.
type MissingEOD int

const (
	MissingLastToken MissingEOD = iota // read and paid at its last token
	MissingZero                        // 0, whatever the reward model thinks
	MissingPenalty                     // Scoring.Penalty instead of the score
	MissingMask                        // as MissingLastToken for the value model; left out of whitening and the policy loss
)

var missingNames = [...]string{"last_token", "zero", "penalty", "mask"}

// ParseMissingEOD reads "last_token", "zero", "penalty" or "mask".
func ParseMissingEOD(name string) (MissingEOD, error) {
	for m, n := range missingNames {
		if n == name {
			return MissingEOD(m), nil
		}
	}
	return 0, fmt.Errorf("ppo: missing_eod %q: want last_token, zero, penalty or mask", name)
}

func (m MissingEOD) String() string {
	if m < 0 || int(m) >= len(missingNames) {
		return fmt.Sprintf("MissingEOD(%d)", int(m))
	}
	return missingNames[m]
}

// Scoring says where a response's score is read and paid.
type Scoring struct {
	OnEOD      bool       // read and pay at EOD; otherwise at the token before it
	MissingEOD MissingEOD // for responses without EOD
	Penalty    float64    // the score under MissingPenalty
}

// LastPromptToken is the ScorePlace.Read of a score that is read before the response begins.
const LastPromptToken = -1

// Nowhere is the ScorePlace.Pay of an empty response: it has no token to pay at.
const Nowhere = -1

// ScorePlace is where one response's score is read and paid.
type ScorePlace struct {
	Read   int     // response index of the token at which the reward model is read, or LastPromptToken
	Pay    int     // response index of the token whose reward gets the score, or Nowhere
	Fixed  bool    // the score is Value; the reward model need not be read
	Value  float64 // see Fixed
	Masked bool    // leave the response out of whitening, the policy loss and its denominator
}

// Place returns where a response of the given number of tokens is scored; hasEOD says that the last of them is the EOD.
//
//	has EOD, OnEOD              read T-1  pay T-1
//	has EOD, not OnEOD, T > 1   read T-2  pay T-2
//	has EOD, not OnEOD, T = 1   read the last prompt token, pay 0 (the EOD itself)
//	no EOD, last_token or mask  read T-1  pay T-1
//	no EOD, zero or penalty     not read  pay T-1
//	T = 0                       read the last prompt token, paid nowhere
func (c Scoring) Place(tokens int, hasEOD bool) ScorePlace {
	last := max(tokens, 0) - 1
	place := ScorePlace{Read: last, Pay: last}
	switch {
	case hasEOD:
		if !c.OnEOD {
			place.Read = max(last-1, LastPromptToken)
			if last > 0 {
				place.Pay = last - 1
			}
		}
	case c.MissingEOD == MissingZero:
		place.Fixed = true
	case c.MissingEOD == MissingPenalty:
		place.Fixed, place.Value = true, c.Penalty
	case c.MissingEOD == MissingMask:
		place.Masked = true
	}
	return place
}
