package reward

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"alfred/internal/config"
)

// TestTokenStaysWhereItWasSent: a redirect to another address is not followed, nor does the token appear in any message.
func TestTokenStaysWhereItWasSent(t *testing.T) {
	const token = "s3cret+/="
	t.Setenv("REWARD_TOKEN", token)
	elsewhere := serve(t, func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("asked with %v", r.Header)
		tenths(w, r)
	})
	echo := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			fmt.Fprintf(w, "%s cannot use %q", strings.Repeat("x", excerptBytes-40), r.Header.Get("Authorization"))
		}
	}
	notHTTP := func(w http.ResponseWriter, r *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		fmt.Fprintf(c, "%s %s\r\n\r\n", r.Header.Get("Authorization"), strings.Repeat("long ", 10000))
		c.Close()
	}
	for _, handler := range []http.HandlerFunc{
		say(301, "", "Location", elsewhere.URL), say(302, "", "Location", elsewhere.URL), say(307, "", "Location", elsewhere.URL),
		say(308, "", "Location", elsewhere.URL+"/?"+token), echo(400), echo(500), echo(200), say(200, `{"scores":["`+token+`"]}`), say(200, `{"scores":[1,"`+token),
		say(200, `{"scores":["`+strings.Repeat("x", excerptBytes-5)+token+`"]}`), notHTTP,
	} {
		h, _ := client(t, config.HTTP{URL: serve(t, handler).URL, TokenEnv: "REWARD_TOKEN", Retries: 1})
		_, err := h.Score(t.Context(), numbered(1))
		if err == nil || strings.Contains(err.Error(), "s3c") || len(err.Error()) > 5*excerptBytes {
			t.Errorf("%v", err)
		}
		if text := fmt.Sprintf("%v %+v %#v", h, *h, h); strings.Contains(text, "s3cret") {
			t.Errorf("printed as %s", text)
		}
	}
	if n := elsewhere.asked.Load(); n != 0 {
		t.Errorf("%d requests came by redirect", n)
	}
}

func TestConstructionFindsWhatIsMissing(t *testing.T) {
	t.Setenv("EMPTY_TOKEN", "")
	t.Setenv("BAD_TOKEN", "hush\nhush")
	good := config.HTTP{URL: "http://127.0.0.1:8000/score", Timeout: time.Second, Batch: 1}
	if _, err := NewHTTP(good); err != nil {
		t.Errorf("%+v: %v", good, err)
	}
	for want, change := range map[string]func(*config.HTTP){
		"NO_SUCH_TOKEN is not set": func(c *config.HTTP) { c.TokenEnv = "NO_SUCH_TOKEN" },
		"EMPTY_TOKEN is not set":   func(c *config.HTTP) { c.TokenEnv = "EMPTY_TOKEN" },
		"BAD_TOKEN holds":          func(c *config.HTTP) { c.TokenEnv = "BAD_TOKEN" },
		"want an address":          func(c *config.HTTP) { c.URL = "ftp://127.0.0.1" },
		"url: want":                func(c *config.HTTP) { c.URL = "http://" },
		"model.reward.http.url: w": func(c *config.HTTP) { c.URL = "http://user:hush@[::1" },
		"timeout 0s":               func(c *config.HTTP) { c.Timeout = 0 },
		"batch 0":                  func(c *config.HTTP) { c.Batch = 0 },
		"retries -1":               func(c *config.HTTP) { c.Retries = -1 },
	} {
		c := good
		change(&c)
		var wrong *config.Errors // what the exit code of a wrong configuration goes by
		if h, err := NewHTTP(c); h != nil || !errors.As(err, &wrong) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%+v: %v, want %q", c, err, want)
		}
	}
	_, err := NewHTTP(config.HTTP{TokenEnv: "NO_SUCH_TOKEN"})
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("three things are wrong: %v", err)
	}
}

// TestPasswordOfTheAddressIsNotShown, but sent.
func TestPasswordOfTheAddressIsNotShown(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if user, password, ok := r.BasicAuth(); !ok || user != "me" || password != "hush" {
			t.Errorf("%v", r.Header)
		}
		w.WriteHeader(403)
	})
	h, _ := client(t, config.HTTP{URL: strings.Replace(s.URL, "http://", "http://me:hush@", 1)})
	if _, err := h.Score(t.Context(), numbered(1)); err == nil || strings.Contains(err.Error(), "hush") {
		t.Errorf("%v", err)
	}
}
