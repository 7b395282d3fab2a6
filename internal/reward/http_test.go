package reward

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"alfred/internal/config"
	"alfred/internal/rollout"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// service serves answers, one handler for each request in turn, the last one for all that follow.
type service struct {
	*httptest.Server
	asked atomic.Int64
}

func serve(t *testing.T, handlers ...http.HandlerFunc) *service {
	t.Helper()
	s := &service{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := int(s.asked.Add(1))
		handlers[min(n, len(handlers))-1](w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// client is an HTTP whose pauses take no time and are written down.
func client(t *testing.T, c config.HTTP) (h *HTTP, pauses *[]time.Duration) {
	t.Helper()
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	if c.Batch == 0 {
		c.Batch = 64
	}
	h, err := NewHTTP(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.client.CloseIdleConnections)
	pauses = new([]time.Duration)
	h.sleep = func(ctx context.Context, d time.Duration) error {
		*pauses = append(*pauses, d)
		return ctx.Err()
	}
	return h, pauses
}

func say(status int, text string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		io.WriteString(w, text)
	}
}

// hangUp closes the connection, after part of an answer if there is one.
func hangUp(part string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		if part != "" {
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n%s", part)
		}
		c.Close()
	}
}

// request is what the contract says that a service receives.
type request struct {
	Items []struct {
		Prompt, Response string
		PromptIDs        []int32 `json:"prompt_ids"`
		ResponseIDs      []int32 `json:"response_ids"`
		Finish           string
	}
}

// numbered are items whose prompt is their number.
func numbered(n int) []Item {
	items := make([]Item, n)
	for i := range items {
		items[i].Sequence, items[i].Prompt, items[i].Response, items[i].Finish = i, []int32{int32(i)}, []int32{1, 0}, rollout.FinishEOD
	}
	return items
}

// tenths scores an item by its number.
func tenths(w http.ResponseWriter, r *http.Request) {
	var q request
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	scores := []float64{}
	for _, it := range q.Items {
		scores = append(scores, float64(it.PromptIDs[0])/10)
	}
	json.NewEncoder(w).Encode(map[string]any{"scores": scores, "model": "extra fields are ignored"})
}

func TestRequestHoldsWhatTheContractSays(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var got any
		if err := json.Unmarshal(body, &got); err != nil {
			t.Errorf("%s: %v", body, err)
		}
		want := map[string]any{"items": []any{
			map[string]any{"prompt": "User: <é>\n", "response": " \"yes\"", "prompt_ids": []any{3., 4.}, "response_ids": []any{5., 0.}, "finish": "eod"},
			map[string]any{"prompt": "", "response": "", "prompt_ids": []any{}, "response_ids": []any{70000.}, "finish": "length"},
		}}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("request %s\n%s", body, d)
		}
		if !strings.Contains(string(body), "<é>") {
			t.Errorf("HTML escapes in %s", body)
		}
		if r.Method != "POST" || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Authorization") != "Bearer s3cret" || r.URL.RequestURI() != "/score?v=1" {
			t.Errorf("%s %s, %v", r.Method, r.URL, r.Header)
		}
		io.WriteString(w, " {\"scores\" : [ 1 ,\n-2.5e-3 ] } ")
	})
	t.Setenv("REWARD_TOKEN", "s3cret")
	h, _ := client(t, config.HTTP{URL: s.URL + "/score?v=1", TokenEnv: "REWARD_TOKEN"})
	got, err := h.Score(t.Context(), []Item{
		{PromptText: "User: <é>\n", ResponseText: " \"yes\"", Trajectory: rollout.Trajectory{Prompt: []int32{3, 4}, Response: []int32{5, 0}, Finish: rollout.FinishEOD}},
		{Trajectory: rollout.Trajectory{Response: []int32{70000}, Finish: rollout.FinishLength}},
	})
	if err != nil || !cmp.Equal(got, []float64{1, -2.5e-3}) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestBatchesKeepTheOrder(t *testing.T) {
	s := serve(t, say(503, "warming up"), tenths, hangUp(""), tenths)
	for batch, requests := range map[int]int64{1: 23, 3: 8, 7: 4, 23: 1, 100: 1} {
		s.asked.Store(0)
		h, _ := client(t, config.HTTP{URL: s.URL, Batch: batch, Retries: 2})
		got, err := h.Score(t.Context(), numbered(23))
		if err != nil {
			t.Fatalf("batch %d: %v", batch, err)
		}
		for i, x := range got {
			if len(got) != 23 || x != float64(i)/10 {
				t.Fatalf("batch %d: %v", batch, got)
			}
		}
		failures := int64(1)
		if requests > 1 {
			failures = 2
		}
		if n := s.asked.Load(); n != requests+failures {
			t.Errorf("batch %d: %d requests, want %d and %d repeated", batch, n, requests, failures)
		}
	}
	h, _ := client(t, config.HTTP{URL: "http://127.0.0.1:1/"})
	if got, err := h.Score(t.Context(), nil); err != nil || len(got) != 0 {
		t.Errorf("no items: %v, %v", got, err)
	}
}

func TestWhatIsRepeated(t *testing.T) {
	stall := func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // so that the server notices when the client goes away
		<-r.Context().Done()
	}
	stallWithin := func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, `{"scores":[`)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		timeout time.Duration
		said    string
	}{
		"429":                 {say(429, "slow down"), 0, `429 Too Many Requests: received "slow down"`},
		"500":                 {say(500, "oops"), 0, `500 Internal Server Error: received "oops"`},
		"502":                 {say(502, ""), 0, "502"},
		"503":                 {say(503, ""), 0, "503"},
		"529":                 {say(529, ""), 0, "529"},
		"599":                 {say(599, ""), 0, "599"},
		"hang up":             {hangUp(""), 0, "connection: EOF"},
		"hang up within":      {hangUp(`{"scores":[1`), 0, "unexpected EOF"},
		"no answer in time":   {stall, 30 * time.Millisecond, "no complete answer within 30ms"},
		"half of one by then": {stallWithin, 30 * time.Millisecond, "no complete answer within 30ms"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, c.handler, c.handler, tenths)
			h, pauses := client(t, config.HTTP{URL: s.URL, Retries: 2, Timeout: c.timeout})
			var told []string
			h.Retrying = func(attempt int, pause time.Duration, cause error) {
				told = append(told, fmt.Sprintf("attempt %d, %v", attempt, cause))
				if attempt == 2 { // the next one is to succeed, on a busy machine too
					h.config.Timeout = 10 * time.Second
				}
				if pause <= 0 {
					t.Errorf("a pause of %v", pause)
				}
			}
			got, err := h.Score(t.Context(), numbered(2))
			if err != nil || !cmp.Equal(got, []float64{0, 0.1}) {
				t.Fatalf("%v, %v", got, err)
			}
			if len(*pauses) != 2 || len(told) != 2 || !strings.HasPrefix(told[1], "attempt 2, ") || !strings.Contains(told[0], c.said) {
				t.Errorf("paused %v and told %q, want %q", *pauses, told, c.said)
			}

			s = serve(t, c.handler)
			h, pauses = client(t, config.HTTP{URL: s.URL, Retries: 1, Timeout: c.timeout})
			got, err = h.Score(t.Context(), numbered(2))
			if err == nil || s.asked.Load() > 2 || len(*pauses) != 1 {
				t.Fatalf("%v, %v after %d requests and pauses %v", got, err, s.asked.Load(), *pauses)
			}
			for _, want := range []string{"after 2 attempts", c.said, s.URL, "items 0 to 1 of 2"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
			if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || !errors.Is(err, ErrService) {
				t.Errorf("nobody cancelled, the service failed, but: %v", err)
			}
		})
	}
	t.Run("nobody listens", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		h, pauses := client(t, config.HTTP{URL: "http://" + l.Addr().String(), Retries: 3})
		if _, err := h.Score(t.Context(), numbered(1)); err == nil || !strings.Contains(err.Error(), "refused") || len(*pauses) != 3 {
			t.Errorf("%v after %v", err, *pauses)
		}
	})
}

func TestBackOffGrowsAndSpreads(t *testing.T) {
	for attempt := 1; attempt <= 1001; attempt++ {
		want := lastPause
		if attempt <= 6 { // 0.5, 1, 2, 4, 8, 16 seconds, then 30
			want = firstPause << (attempt - 1)
		}
		low, high := lastPause, time.Duration(0)
		for range 40 {
			p := backOff(attempt)
			low, high = min(low, p), max(high, p)
		}
		// 40 draws leave a quarter of the range untouched once in 10^5.
		if low < want/2 || high >= want || high-low < want/8 {
			t.Errorf("after attempt %d: from %v to %v, want within %v to %v", attempt, low, high, want/2, want)
		}
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	now := time.Date(2023, 7, 23, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, " 120 ": 2 * time.Minute, "-3": 0, "1.5": 0, "soon": 0,
		"99999999999999999999":           (1<<31 - 1) * time.Second,
		"Sun, 23 Jul 2023 12:01:30 GMT":  90 * time.Second,
		"Sun, 23 Jul 2023 11:00:00 GMT":  0,
		"Sunday, 23-Jul-23 12:00:05 GMT": 5 * time.Second,
	} {
		if got := retryAfter(value, now); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
	s := serve(t, say(429, "", "Retry-After", "90"), say(503, "", "Retry-After", "0"), tenths)
	h, pauses := client(t, config.HTTP{URL: s.URL, Retries: 5})
	if _, err := h.Score(t.Context(), numbered(1)); err != nil {
		t.Fatal(err)
	}
	if p := *pauses; len(p) != 2 || p[0] != 90*time.Second || p[1] < firstPause || p[1] >= 2*firstPause {
		t.Errorf("pauses %v, want what was asked for, then the second of the growing ones", p)
	}
	s = serve(t, say(429, "come back tomorrow", "Retry-After", "86400"))
	h, pauses = client(t, config.HTTP{URL: s.URL, Retries: 5})
	if _, err := h.Score(t.Context(), numbered(1)); err == nil || len(*pauses) != 0 || !strings.Contains(err.Error(), "24h") || !strings.Contains(err.Error(), "tomorrow") {
		t.Errorf("%v after %v", err, *pauses)
	}
}

func TestCancellationIsHonouredAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		handler func(cancel func()) http.HandlerFunc
	}{
		"while waiting for an answer": {func(cancel func()) http.HandlerFunc {
			return func(_ http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				cancel()
				<-r.Context().Done()
			}
		}},
		"while pausing": {func(cancel func()) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "300")
				w.WriteHeader(429)
				time.AfterFunc(20*time.Millisecond, cancel)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s := serve(t, c.handler(cancel))
			h, _ := client(t, config.HTTP{URL: s.URL, Retries: 100, Timeout: time.Hour})
			h.sleep = sleep
			begun := time.Now()
			_, err := h.Score(ctx, numbered(3))
			if !errors.Is(err, context.Canceled) || errors.Is(err, ErrService) || s.asked.Load() != 1 {
				t.Errorf("%v after %d requests", err, s.asked.Load())
			}
			if d := time.Since(begun); d > 5*time.Second { // the pause would be 300
				t.Errorf("took %v", d)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	h, _ := client(t, config.HTTP{URL: "http://127.0.0.1:1/"})
	if _, err := h.Score(ctx, numbered(1)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: %v", err)
	}
	ctx, cancel = context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	if _, err := h.Score(ctx, numbered(1)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("expired before: %v", err)
	}
}
