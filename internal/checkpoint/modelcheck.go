package checkpoint

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"alfred/internal/checkpoint/safetensors"
	"alfred/internal/falcon"
	"alfred/internal/tokenizer"
)

// settleHead decides whether the language-model head of a Hugging Face directory is the embedding. Configurations often do not
// say so, and transformers ties by default; what is stored decides.
func (m *Model) settleHead() error {
	if m.Config.Head != falcon.CausalLM {
		return nil
	}
	embedding, head := m.src.stored[falcon.EmbeddingName], m.src.stored[falcon.LMHeadName]
	switch {
	case head == nil: // the configuration decides; checkTensors will miss the head of an untied model
		return nil
	case embedding == nil && m.Config.TieWordEmbeddings:
		m.warnf("%s is missing, and %s, which is tied to it, takes its place", falcon.EmbeddingName, falcon.LMHeadName)
		m.src.stored[falcon.EmbeddingName] = head
		return nil
	case embedding == nil || !slices.Equal(embedding.shape, head.shape):
		m.Config.TieWordEmbeddings = false // and checkTensors says what is wrong
		return nil
	}
	equal, err := sameValues(embedding, head)
	if err != nil {
		return err
	}
	switch {
	case equal && !m.Config.TieWordEmbeddings:
		m.warnf("%s says tie_word_embeddings false, but %s equals %s: the model is read as tied", configName, falcon.LMHeadName, falcon.EmbeddingName)
	case !equal && m.Config.TieWordEmbeddings:
		m.warnf("%s differs from %s: the model is read as untied, although %s says (or means by default) tie_word_embeddings true",
			falcon.LMHeadName, falcon.EmbeddingName, configName)
	}
	m.Config.TieWordEmbeddings = equal
	return nil
}

// sameValues compares two tensors of one shape, which may have different types.
func sameValues(a, b *stored) (bool, error) {
	dtype := a.dtype
	if a.dtype != b.dtype {
		dtype = safetensors.F64 // holds all the others
	}
	same := true
	var ra, rb reader
	err := ra.pieces(a, dtype, a.rows(), a.cols(), func(at, n int, left []byte) error {
		if !same {
			return nil
		}
		return rb.pieces(b, dtype, safetensors.Range{Lo: at, Hi: at + n}, b.cols(), func(_, _ int, right []byte) error {
			same = bytes.Equal(left, right)
			return nil
		})
	})
	return same, err
}

// checkTensors compares what is stored with what the configuration asks for.
func (m *Model) checkTensors() error {
	var errs []error
	wanted := map[string]bool{}
	for _, want := range m.Config.Tensors() {
		wanted[want.Name] = true
		switch t := m.src.stored[want.Name]; {
		case t == nil:
			errs = append(errs, fmt.Errorf("tensor %s %v is missing", want.Name, want.Shape))
		case !slices.Equal(t.shape, want.Shape):
			errs = append(errs, fmt.Errorf("tensor %s has shape %v, the configuration needs %v", want.Name, t.shape, want.Shape))
		default:
			if err := t.onlyFloats(); err != nil {
				errs = append(errs, err)
			}
		}
	}
	var unexpected []string
	for _, name := range m.src.names {
		tied := name == falcon.LMHeadName && m.Config.Head == falcon.CausalLM && m.Config.TieWordEmbeddings
		if !wanted[name] && !tied && !isLegacyBuffer(name) {
			unexpected = append(unexpected, name)
		}
	}
	if n := len(unexpected); n > 0 {
		const most = 5
		list := strings.Join(unexpected[:min(n, most)], ", ")
		if n > most {
			list += ", ..."
		}
		m.warnf("%d tensors do not belong to %v and are not used: %s", n, m.Config.Head, list)
	}
	return joinFew(errs)
}

// isLegacyBuffer recognises the rotary frequencies that older repositories stored with the weights. They follow from the
// configuration.
func isLegacyBuffer(name string) bool {
	return strings.HasSuffix(name, "rotary.inv_freq") || strings.HasSuffix(name, "rotary_emb.inv_freq")
}

// checkFinite looks for NaN and infinite numbers in all tensors of the model.
func (src *source) checkFinite(cfg falcon.Config) error {
	var entries []safetensors.Entry
	for _, want := range cfg.Tensors() {
		seen := map[string]bool{} // a file may hold several runs of rows of one tensor
		for _, p := range src.stored[want.Name].parts {
			if !seen[p.entry.Path()] {
				entries = append(entries, p.entry)
			}
			seen[p.entry.Path()] = true
		}
	}
	errs := make([]error, len(entries))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, entry := range entries {
		group.Go(func() error {
			errs[i] = entry.CheckFinite()
			return nil
		})
	}
	group.Wait()
	return joinFew(slices.DeleteFunc(errs, func(err error) bool { return err == nil }))
}

// checkTokens warns when the model's own tokenizer does not go with its configuration.
func (m *Model) checkTokens() {
	path := filepath.Join(m.Dir, tokenizerName)
	if !exists(m.Dir, tokenizerName) {
		return
	}
	tok, err := tokenizer.Load(path)
	if err != nil {
		m.warnf("the tokenizer cannot be used, only token ids can: %v", err)
		return
	}
	if n := tok.VocabSize(); n > m.Config.VocabSize {
		m.warnf("%s has %d tokens, the model %d: the last ones cannot be read", tokenizerName, n, m.Config.VocabSize)
	}
	if eod, ok := tok.EOD(); ok {
		m.Warnings = append(m.Warnings, m.EODWarnings(int(eod))...)
	}
}

// EODWarnings tells where the model's files disagree with a tokenizer's end of document, which is what counts.
func (m *Model) EODWarnings(eod int) (warnings []string) {
	disagree := func(file string, id int) {
		if id != eod {
			warnings = append(warnings, fmt.Sprintf("%s: eos_token_id is %d, but %s is %d in the tokenizer, which is used",
				file, id, tokenizer.EndOfDocument, eod))
		}
	}
	if id := m.Config.EOSTokenID; id != nil {
		disagree(configName, *id)
	}
	text, err := readSmall(filepath.Join(m.Dir, generationName), 1<<20)
	if err != nil {
		return warnings // nothing else in it is of interest
	}
	var generation struct {
		EOS json.RawMessage `json:"eos_token_id"` // a number or a list
	}
	var one int
	var many []int
	if json.Unmarshal(text, &generation) == nil && json.Unmarshal(generation.EOS, &one) == nil {
		disagree(generationName, one)
	} else if json.Unmarshal(generation.EOS, &many) == nil && !slices.Contains(many, eod) && len(many) > 0 {
		disagree(generationName, many[0])
	}
	return warnings
}
