package config

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// The data that the hh configs name is in the shared data folder, and each
// stage reads what the one before writes.
func TestHHConfigsFitTogether(t *testing.T) {
	const data = "../../../shared/data"
	if _, err := os.Stat(data); err != nil {
		t.Skipf("shared data is absent: %v", err)
	}
	stages := map[string]*Config{}
	for _, stage := range []string{SFT, Reward, PPO} {
		c, err := Load("../../configs/hh-"+stage+".yaml", []string{"data_root=" + data})
		if err != nil {
			t.Fatal(err)
		}
		stages[stage] = c
		for _, s := range c.Data {
			if found, err := filepath.Glob(filepath.Join(c.DataRoot, s.Path)); err != nil || len(found) == 0 {
				t.Errorf("stage %s: no data at %s (%v)", stage, s.Path, err)
			}
		}
	}
	sft, reward, ppo := stages[SFT], stages[Reward], stages[PPO]
	for what, pair := range map[string][2]string{
		"reward starts from sft":     {reward.Model.Reward.Path, sft.Run.Dir},
		"normalise samples from sft": {reward.Normalise.Policy, sft.Run.Dir},
		"ppo starts from sft":        {ppo.Model.Policy, sft.Run.Dir},
		"ppo scores with reward":     {ppo.Model.Reward.Path, reward.Run.Dir},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: %s is not %s", what, pair[0], pair[1])
		}
	}
	if tr := ppo.Trainer; tr.MaxSteps != 20 || tr.NumRollouts != 32 || ppo.Trajectory.PromptMaxLen != 256 || ppo.Trajectory.ContinuationMaxLen != 48 {
		t.Errorf("ppo sizes: %+v %+v", tr, ppo.Trajectory)
	}
}

func TestHHModelIsASmallFalcon40B(t *testing.T) {
	read := func(path string) map[string]any {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Skipf("shared data is absent: %v", err)
		}
		var m map[string]any
		if err := json.Unmarshal(text, &m); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		return m
	}
	big, small := read("../../../shared/data/falcon/config-40b.json"), read("../../configs/hh-model.json")
	resized := map[string]bool{"hidden_size": true, "num_attention_heads": true, "num_hidden_layers": true, "num_kv_heads": true, "torch_dtype": true, "architectures": true}
	for key, want := range big {
		if got := small[key]; !resized[key] && got != want {
			t.Errorf("%s is %v, Falcon-40B's is %v", key, got, want)
		}
	}
	hidden, heads, kv := small["hidden_size"].(float64), small["num_attention_heads"].(float64), small["num_kv_heads"].(float64)
	if hidden != 128 || heads != 8 || int(heads)%int(kv) != 0 {
		t.Errorf("hidden %v, heads %v, key/value heads %v", hidden, heads, kv)
	}
}
