package reward

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"alfred/internal/config"
)

const (
	firstPause   = 500 * time.Millisecond // doubled from attempt to attempt
	lastPause    = 30 * time.Second       // where doubling ends
	longestPause = 10 * time.Minute       // that a service may ask for with Retry-After; beyond it a run would seem to hang
	maxAnswer    = 16 << 20               // bytes of an answer's body
	maxHeader    = 1 << 20                // bytes of an answer's header
	maxRefusal   = 64 << 10               // bytes that are read of an answer without scores
)

// ErrService is wrapped by every error of a service that gave no scores, whatever kept it: nobody who answers, a refusal, an answer
// that cannot be used.
var ErrService = errors.New("reward service")

// HTTP asks a service for scores. The service must be the same for all who ask: wrap it in Once when there are several ranks.
//
// A request that gets no answer in time, loses its connection, or is answered by 429 (too many requests) or 5xx (the server's
// trouble) is repeated after a pause that grows from attempt to attempt and is at least what Retry-After says. Whatever else
// comes back ends the scoring, with the beginning of what was received. Redirects are not followed: a token must not
// travel to where nobody sent it.
type HTTP struct {
	// Retrying is told of every attempt that failed and will be repeated: which it was (from 1), how long the pause will be, and
	// what went wrong. Nil: nobody is told.
	Retrying func(attempt int, pause time.Duration, cause error)

	config    config.HTTP
	address   string // for messages: without a password
	client    *http.Client
	authorize func(*http.Request)      // closes over the token, so that no formatting of an HTTP prints it
	censor    func(text []byte) []byte // removes the token from what is shown
	sleep     func(context.Context, time.Duration) error
}

// NewHTTP prepares the client; nothing is sent yet. It fails, with a *config.Errors, when the address is no http or https URL, or
// when the environment lacks the variable that is to hold the token.
func NewHTTP(c config.HTTP) (*HTTP, error) {
	h := &HTTP{config: c, sleep: sleep, authorize: func(*http.Request) {}, censor: func(text []byte) []byte { return text }}
	var problems []config.Problem
	bad := func(key, format string, args ...any) {
		problems = append(problems, config.Problem{Key: "model.reward.http" + key, Message: fmt.Sprintf(format, args...)})
	}
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		bad(".url", "want an address like http://127.0.0.1:8000/score")
	} else {
		h.address = u.Redacted()
	}
	if c.Timeout <= 0 || c.Retries < 0 || c.Batch < 1 {
		bad("", "timeout %v, retries %d, batch %d: want more than 0, at least 0, at least 1", c.Timeout, c.Retries, c.Batch)
	}
	if c.TokenEnv != "" {
		token := os.Getenv(c.TokenEnv)
		if err := checkToken(token); err != nil {
			bad(".token_env", "environment variable %s %v", c.TokenEnv, err)
		}
		h.authorize = func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
		h.censor = func(text []byte) []byte { return bytes.ReplaceAll(text, []byte(token), []byte("[token]")) }
	}
	if problems != nil {
		return nil, &config.Errors{Problems: problems}
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxResponseHeaderBytes = maxHeader
	h.client = &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return h, nil
}

// checkToken says what keeps a token from being sent, without showing it.
func checkToken(token string) error {
	if token == "" {
		return errors.New("is not set or empty")
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("holds white space or characters that a header cannot carry")
	}
	return nil
}

// Score asks for the scores of all items, at most batch of them at a time, in order. When the context ends, so do requests and
// pauses, at once.
func (h *HTTP) Score(ctx context.Context, items []Item) ([]float64, error) {
	scores := make([]float64, 0, len(items))
	for batch := range slices.Chunk(items, h.config.Batch) {
		some, err := h.ask(ctx, batch)
		switch {
		case ctx.Err() != nil:
			return nil, fmt.Errorf("reward service: %w", ctx.Err())
		case err != nil:
			return nil, fmt.Errorf("%w: POST %s, items %d to %d of %d: %w", ErrService, h.address, len(scores), len(scores)+len(batch)-1, len(items), err)
		}
		scores = append(scores, some...)
	}
	return scores, nil
}

// transient is the failure of an attempt that may be repeated, after a pause of at least after.
type transient struct {
	error
	after time.Duration
}

// ask gets the scores of one batch, in as many attempts as it takes and is allowed.
func (h *HTTP) ask(ctx context.Context, items []Item) ([]float64, error) {
	body, err := encodeItems(items)
	if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		scores, err := h.attempt(ctx, body, len(items))
		var again transient
		switch {
		case err == nil || ctx.Err() != nil || !errors.As(err, &again):
			return scores, err
		case attempt > h.config.Retries:
			return nil, fmt.Errorf("no scores after %d attempts, the last: %w", attempt, again.error)
		case again.after > longestPause:
			return nil, fmt.Errorf("the service asks for a pause of %v, the most that is waited is %v: %w", again.after, longestPause, again.error)
		}
		pause := max(backOff(attempt), again.after)
		if h.Retrying != nil {
			h.Retrying(attempt, pause, again.error)
		}
		if err := h.sleep(ctx, pause); err != nil {
			return nil, err
		}
	}
}

// backOff is the pause after an attempt: exponential, with jitter in its upper half so that many clients spread out.
func backOff(attempt int) time.Duration {
	pause := lastPause
	if attempt < 16 {
		pause = min(pause, firstPause<<(attempt-1))
	}
	return pause/2 + rand.N(pause/2)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// attempt sends the request once and waits no longer than the timeout for all of the answer.
func (h *HTTP) attempt(ctx context.Context, body []byte, items int) ([]float64, error) {
	limited, cancel := context.WithTimeout(ctx, h.config.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(limited, http.MethodPost, h.config.URL, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "alfred")
	h.authorize(request)
	answer, err := h.client.Do(request)
	if err != nil {
		return nil, h.lost(limited, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return nil, h.refused(answer)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err != nil {
		return nil, h.lost(limited, err)
	}
	if len(text) > maxAnswer {
		return nil, fmt.Errorf("the answer is longer than %d bytes: received %s", maxAnswer, h.show(text))
	}
	scores, err := decodeScores(text, items, h.show)
	if err != nil {
		return nil, fmt.Errorf("%w: received %s", err, h.show(text))
	}
	return scores, nil
}

// show quotes the beginning of something that was received.
func (h *HTTP) show(text []byte) string {
	return excerpt(h.censor(text[:min(len(text), maxRefusal)]))
}

// lost is the error of a request that got no complete answer.
func (h *HTTP) lost(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return transient{error: fmt.Errorf("no complete answer within %v", h.config.Timeout)}
	}
	if outer, ok := errors.AsType[*url.Error](err); ok { // it repeats method and address
		err = outer.Err
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok { // the next attempt meets the same certificate
		return err
	}
	text := h.censor([]byte(err.Error())) // it quotes what is not HTTP
	return transient{error: fmt.Errorf("connection: %s", text[:min(len(text), 2*excerptBytes)])}
}

// refused is the error of an answer that says that there are no scores.
func (h *HTTP) refused(answer *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(answer.Body, maxRefusal)) // what has arrived is enough to show
	code := answer.StatusCode
	err := fmt.Errorf("status %s: received %s", strings.TrimSpace(fmt.Sprint(code, " ", http.StatusText(code))), h.show(text))
	switch {
	case code == http.StatusTooManyRequests || code >= 500:
		return transient{error: err, after: retryAfter(answer.Header.Get("Retry-After"), time.Now())}
	case code >= 300 && code < 400:
		return fmt.Errorf("redirected to %s, and redirects are not followed; give the service's own address: %w", h.show([]byte(answer.Header.Get("Location"))), err)
	}
	return err
}

// retryAfter reads the header of that name: seconds, or a date (RFC 9110, section 10.2.3). What is neither asks for nothing.
func retryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if value != "" && strings.Trim(value, "0123456789") == "" {
		seconds, err := strconv.ParseInt(value, 10, 32)
		if err != nil { // too many digits
			seconds = 1<<31 - 1
		}
		return time.Duration(seconds) * time.Second
	}
	date, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return max(0, date.Sub(now))
}
