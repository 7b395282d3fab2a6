package main

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

// TestRewardServiceThatFails ends a run with a code of its own, and a setting that cannot be used is no failure of the service.
func TestRewardServiceThatFails(t *testing.T) {
	f, dir := trained(t), t.TempDir()
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no such model", http.StatusForbidden)
	}))
	defer service.Close()
	data := write(t, filepath.Join(dir, "data.jsonl"), strings.Repeat(`{"prompt": "Say market."}`+"\n", 4))
	path := write(t, filepath.Join(dir, "ppo.yaml"), `stage: ppo
run: {dir: `+filepath.Join(dir, "run")+`}
model: {policy: `+f.base+`, reward: {http: {url: "`+service.URL+`/score"}}}
trainer: {num_rollouts: 4, value_steps_per_epoch: 1, max_steps: 1, eval_share: 0.0}
trajectory: {prompt_max_len: 16, continuation_max_len: 8}
data: [{source: prompts, path: `+data+`}]
`)
	args := []string{"train", "--config", path}
	fails(t, exitPeer, "", args, "reward service: POST "+service.URL+"/score", "403 Forbidden", "no such model")
	fails(t, exitUsage, "", append(args, "--set", "run.dir="+filepath.Join(dir, "other"), "--set", "model.reward.http.token_env=NO_SUCH_TOKEN"), "model.reward.http.token_env: environment variable NO_SUCH_TOKEN is not set")
	if help := must(t, "", "train", "--help"); !strings.Contains(help, "\n  6        a rank was lost, or the reward service gave no scores\n") {
		t.Errorf("%s", help)
	}
}
