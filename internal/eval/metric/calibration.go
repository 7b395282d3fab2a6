package metric

import (
	"fmt"
	"math"
)

// Question is a multiple-choice document as a model answered it.
type Question struct {
	Probabilities []float64 // of the choices, summing to 1
	Answer        int       // the choice with the largest log-likelihood, the first of equals
	Gold          int
}

// NewQuestion makes probabilities of the log-likelihoods of the choices, in nats: their softmax, as lm-eval's brier_score has it. All of
// them -inf, a NaN or +inf is an error.
func NewQuestion(logLikelihoods []float64, gold int) (Question, error) {
	if gold < 0 || gold >= len(logLikelihoods) {
		return Question{}, fmt.Errorf("metric: choice %d of %d is the right one", gold, len(logLikelihoods))
	}
	q := Question{Probabilities: make([]float64, len(logLikelihoods)), Gold: gold}
	for i, ll := range logLikelihoods {
		if math.IsNaN(ll) || math.IsInf(ll, 1) {
			return Question{}, fmt.Errorf("metric: choice %d has log-likelihood %g", i, ll)
		}
		if ll > logLikelihoods[q.Answer] {
			q.Answer = i
		}
	}
	largest := logLikelihoods[q.Answer]
	if math.IsInf(largest, -1) {
		return Question{}, fmt.Errorf("metric: no choice is possible, all log-likelihoods are -Inf")
	}
	sum := 0.0
	for i, ll := range logLikelihoods {
		q.Probabilities[i] = math.Exp(ll - largest)
		sum += q.Probabilities[i]
	}
	for i := range q.Probabilities {
		q.Probabilities[i] /= sum
	}
	return q, nil
}

// valid is whether what is read of a question is there.
func (q Question) valid() error {
	if n := len(q.Probabilities); q.Answer < 0 || q.Answer >= n || q.Gold < 0 || q.Gold >= n {
		return fmt.Errorf("answer %d, gold %d of %d choices", q.Answer, q.Gold, n)
	}
	for i, p := range q.Probabilities {
		if !(p >= 0 && p <= 1) {
			return fmt.Errorf("choice %d has probability %g", i, p)
		}
	}
	return nil
}

func (q Question) right() bool { return q.Answer == q.Gold }

// confidence is the probability of the answer.
func (q Question) confidence() float64 { return q.Probabilities[q.Answer] }

// entropy of the choices, nats.
func (q Question) entropy() (h float64) {
	for _, p := range q.Probabilities {
		if p > 0 {
			h -= p * math.Log(p)
		}
	}
	return h
}

// brier is the squared distance from certainty of the right choice, 0 to 2.
func (q Question) brier() (b float64) {
	for i, p := range q.Probabilities {
		if i == q.Gold {
			p--
		}
		b += p * p
	}
	return b
}

// Calibration says how far a model's probabilities over choices can be believed. Accuracies and confidences are shares, 0 to 1.
type Calibration struct {
	Count      int     // questions
	Accuracy   float64 // share of right answers
	Confidence float64 // mean probability of the answer; above Accuracy for a model that is too sure
	Error      float64 // expected calibration error, 0 to 1
	Brier      float64 // mean Brier score, 0 to 2, as lm-eval's brier_score where all questions have as many choices
	Entropy    float64 // mean entropy of the choices, nats
	Bins       []Bin   // for a reliability diagram
}

// Bin is the questions whose confidence lies in (Low, High]. Its means are 0 where there are none.
type Bin struct {
	Low, High            float64
	Count                int
	Confidence, Accuracy float64
}

// Calibrate measures over bins of equal width. The expected calibration error is the sum over bins of |B|/n |accuracy(B) - confidence(B)|
// (Guo et al. 2017, arXiv:1706.04599, eq. 3).
func Calibrate(questions []Question, bins int) (Calibration, error) {
	const mostBins = 10_000
	if len(questions) == 0 || bins < 1 || bins > mostBins {
		return Calibration{}, fmt.Errorf("metric: calibration of %d questions in %d bins (1 to %d)", len(questions), bins, mostBins)
	}
	c := Calibration{Count: len(questions), Bins: make([]Bin, bins)}
	for i := range c.Bins {
		c.Bins[i].Low, c.Bins[i].High = float64(i)/float64(bins), float64(i+1)/float64(bins)
	}
	for i, q := range questions {
		if err := q.valid(); err != nil {
			return Calibration{}, fmt.Errorf("metric: calibration: question %d: %w", i, err)
		}
		b := &c.Bins[binOf(q.confidence(), c.Bins)]
		b.Count++
		b.Confidence += q.confidence()
		if q.right() {
			b.Accuracy++
		}
		c.Brier += q.brier()
		c.Entropy += q.entropy()
	}
	n := float64(c.Count)
	for i := range c.Bins {
		b := &c.Bins[i]
		c.Error += math.Abs(b.Accuracy-b.Confidence) / n
		c.Accuracy += b.Accuracy / n
		c.Confidence += b.Confidence / n
		if b.Count > 0 {
			b.Accuracy /= float64(b.Count)
			b.Confidence /= float64(b.Count)
		}
	}
	c.Brier /= n
	c.Entropy /= n
	return c, nil
}

// binOf finds the bin by its bounds, not by a product that rounds: 0.3 belongs to the bin that ends there.
func binOf(confidence float64, bins []Bin) int {
	i := min(int(confidence*float64(len(bins))), len(bins)-1)
	for i > 0 && confidence <= bins[i].Low {
		i--
	}
	for i < len(bins)-1 && confidence > bins[i].High {
		i++
	}
	return i
}
