package dataset

import (
	"testing"

	"alfred/internal/dataset/source"
)

// The signs of a shown sample stand for what they mean and nothing else: a user who types them, or the text of the end of a
// document, is seen to have typed it.
func TestShownSignsCannotBeImitated(t *testing.T) {
	root := folder(t, map[string]string{"d.jsonl": `{"id":"x","prompt":"a⟧b<EOD>∎","response":"⟦c<EOD>⟧"}`, "p.jsonl": `{"id":"x","prompt":"q∎","chosen":"⟧","rejected":"r"}`})
	opts := options(root)
	shown := mustOpen[SFT](t, opts, spec(source.Prompts, "d.jsonl", "")).Report().Sources[0].Samples[0].Text
	if want := `a\u27e7b<EOD>\u220e⟦\u27e6c<EOD>\u27e7∎⟧`; shown != want {
		t.Errorf("shown as %q, want %q", shown, want)
	}
	shown = mustOpen[Ranked](t, opts, spec(source.Pairs, "p.jsonl", "")).Report().Sources[0].Samples[0].Text
	if want := "q\\u220e\nrank 0: ⟦\\u27e7∎⟧\nrank 1: ⟦r∎⟧"; shown != want {
		t.Errorf("shown as %q, want %q", shown, want)
	}
}
