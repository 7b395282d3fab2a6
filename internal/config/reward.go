package config

import "time"

// RewardModel is what scores responses: exactly one of its fields is set, or
// none when a replay brings the scores.
type RewardModel struct {
	Path string // model directory or run directory
	Rule *Rule
	HTTP *HTTP
}

// Given reports whether anything scores responses.
func (r RewardModel) Given() bool { return r.Path != "" || r.Rule != nil || r.HTTP != nil }

// Rule scores the text of a response, decoded without its EOD.
type Rule struct {
	Rule       string   `yaml:"rule" required:"always" oneof:"contains regex length json exact" doc:"contains: 1 if text occurs in the response, else 0; regex: 1 if pattern matches somewhere in it, else 0; length: 1 at target tokens, falling in a straight line to 0 at none and at twice as many; json: 1 if the response is one JSON value (an object with all of keys, where given), else 0; exact: 1 if the response equals text, white space at both ends apart, else 0"`
	Text       string   `yaml:"text" only:"contains exact" required:"always" doc:"text to find, or to equal"`
	IgnoreCase bool     `yaml:"ignore_case" only:"contains exact" default:"false" doc:"compare without regard to case (Unicode simple folding)"`
	Pattern    string   `yaml:"pattern" only:"regex" required:"always" doc:"regular expression in Go's RE2 syntax"`
	Target     int      `yaml:"target" only:"length" required:"always" range:"[1,)" zero:"omit" unit:"tokens" doc:"wanted length of the response, EOD not counted"`
	Keys       []string `yaml:"keys" only:"json" doc:"keys that the object must have at its top level; any JSON value will do when absent"`
}

// HTTP is a service that scores responses: POST of
// {"items": [{"prompt", "response", "prompt_ids", "response_ids", "finish"}]},
// answered by {"scores": [...]} in the same order.
type HTTP struct {
	URL      string        `yaml:"url" required:"always" doc:"address that takes the POST, http or https"`
	Timeout  time.Duration `yaml:"timeout" default:"60s" range:"(0,)" unit:"seconds, or with a unit as in 500ms" doc:"longest wait for one answer"`
	Retries  int           `yaml:"retries" default:"5" range:"[0,1000]" doc:"attempts after the first, with growing pauses, on connection errors, 429 and 5xx; anything else stops the run"`
	TokenEnv string        `yaml:"token_env" doc:"environment variable with a token to send as Authorization: Bearer"`
	Batch    int           `yaml:"batch" default:"64" range:"[1,)" unit:"responses" doc:"most items in one request"`
}

type service struct {
	HTTP HTTP `yaml:"http" required:"always" doc:"service that scores responses"`
}

func (r *RewardModel) forms() ([]string, []any) { return nil, []any{Rule{}, service{}} }

func (r *RewardModel) held() any {
	switch {
	case r.Rule != nil:
		return r.Rule
	case r.HTTP != nil:
		return &service{*r.HTTP}
	}
	return r.Path
}

func (r *RewardModel) hold(x any) {
	switch x := x.(type) {
	case string:
		*r = RewardModel{Path: x}
	case *Rule:
		*r = RewardModel{Rule: x}
	case *service:
		*r = RewardModel{HTTP: &x.HTTP}
	}
}
