package rlhf

import (
	"context"
	"fmt"
	"testing"

	"alfred/internal/checkpoint/safetensors/goldentest"
	"alfred/internal/dataset"
)

// TestGoldenSFT holds loss and gradients of one supervised batch against PyTorch.
func TestGoldenSFT(t *testing.T) {
	for device, p := range precisions {
		t.Run(device, func(t *testing.T) {
			g := openGolden(t, "sft")
			cfg := parse(t, fmt.Sprintf("stage: sft\nmodel: {policy: %spolicy}\nbatching: {micro_batch_tokens: 40}\ntrainer: {global_batch: 3, max_len: 40}\n", goldens))
			r := stageRank(t, cfg, p, g)
			built, err := newSFT(r)
			if err != nil {
				t.Fatal(err)
			}
			stage := built.(*sft)
			if err := stage.load(false); err != nil {
				t.Fatal(err)
			}
			var batch []dataset.SFT
			prompts := g.Ints("prompt_lengths")
			for i, ids := range g.Sequences("ids", "offsets") {
				s := dataset.SFT{IDs: ids, Loss: make([]bool, len(ids))}
				for j := int(prompts[i]); j < len(ids); j++ {
					s.Loss[j] = true
				}
				batch = append(batch, s)
			}
			loss, err := stage.gradient(context.Background(), batch)
			if err != nil {
				t.Fatal(err)
			}
			goldentest.Near(t, "loss", []float64{loss}, g.Floats("loss"), p.value, p.value)
			goldentest.NearTensors(t, "gradient", gradients(t, stage.policy), g.Under("gradient/"), p.relative, p.absolute)
		})
	}
}

// TestGoldenRewardTraining holds loss, accuracy, margin and gradients of one batch of ranked lists against PyTorch.
func TestGoldenRewardTraining(t *testing.T) {
	for device, p := range precisions {
		t.Run(device, func(t *testing.T) {
			g := openGolden(t, "reward-training")
			cfg := parse(t, fmt.Sprintf("stage: reward\nmodel: {reward: %sreward}\nbatching: {micro_batch_tokens: 70}\ntrainer: {global_batch: 4, max_len: 30}\n", goldens))
			r := stageRank(t, cfg, p, g)
			built, err := newReward(r)
			if err != nil {
				t.Fatal(err)
			}
			stage := built.(*rewardStage)
			if err := stage.load(false); err != nil {
				t.Fatal(err)
			}
			var batch []dataset.Ranked
			lists, seqs := g.Ints("list_offsets"), g.Sequences("ids", "offsets")
			for l := 0; l+1 < len(lists); l++ {
				var list dataset.Ranked
				for i, ids := range seqs[lists[l]:lists[l+1]] {
					list.Responses, list.Ranks = append(list.Responses, ids), append(list.Ranks, i)
				}
				batch = append(batch, list)
			}
			loss, stats, err := stage.gradient(context.Background(), batch)
			if err != nil {
				t.Fatal(err)
			}
			accuracy, _ := stats.Accuracy()
			margin, _ := stats.MeanMargin()
			goldentest.Near(t, "loss", []float64{loss}, g.Floats("loss"), p.value, p.value)
			goldentest.Near(t, "accuracy", []float64{accuracy}, g.Floats("accuracy_lists"), 1e-15, 0)
			goldentest.Near(t, "margin", []float64{margin}, g.Floats("margin_lists"), p.value, p.value)
			goldentest.NearTensors(t, "gradient", gradients(t, stage.model), g.Under("gradient/"), p.relative, p.absolute)
		})
	}
}
