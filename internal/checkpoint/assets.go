package checkpoint

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"alfred/internal/checkpoint/storage"
	"alfred/internal/falcon"
	"alfred/internal/rundir"
	"alfred/internal/tokenizer"
)

const (
	tokenizerName  = "tokenizer.json"
	generationName = "generation_config.json"
)

// tokenizerNames are the files that transformers looks for besides tokenizer.json.
var tokenizerNames = []string{
	"tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt",
	"chat_template.jinja", "chat_template.json",
}

// Asset is a file that is copied into a model directory byte for byte: its name there, and where it comes from.
type Asset struct{ Name, Path string }

// TokenizerFiles lists what belongs to the tokenizer at path: a tokenizer.json, a directory with one, or a run or checkpoint, whose
// tokenizer lies beside the model that OpenModel takes. A directory without a tokenizer has none, which is no error.
func TokenizerFiles(path string) ([]Asset, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: tokenizer: %w", err)
	}
	dir := path
	var assets []Asset
	if info.IsDir() {
		if !exists(dir, tokenizerName) && (exists(dir, manifestName) || exists(rundir.Dir(dir).Checkpoints(), ".")) {
			m, err := OpenModel(dir, SkipFiniteCheck())
			if err != nil {
				return nil, err
			}
			dir = m.Dir
			m.Close()
		}
		if !exists(dir, tokenizerName) {
			return nil, nil
		}
		path = filepath.Join(dir, tokenizerName)
	} else {
		dir = filepath.Dir(path)
	}
	assets = append(assets, Asset{tokenizerName, path})
	for _, name := range tokenizerNames {
		if exists(dir, name) {
			assets = append(assets, Asset{name, filepath.Join(dir, name)})
		}
	}
	return assets, nil
}

// copyAssets copies files into a directory.
func copyAssets(fsys storage.FS, dir string, assets []Asset) error {
	for _, a := range assets {
		in, err := os.Open(a.Path)
		if err != nil {
			return err
		}
		err = storage.WriteFile(fsys, filepath.Join(dir, a.Name), func(to io.Writer) error {
			_, err := io.Copy(to, in)
			return err
		})
		in.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// writeConfig writes config.json and, for a language model, generation_config.json.
func writeConfig(fsys storage.FS, dir string, cfg falcon.Config) error {
	if err := writeText(fsys, filepath.Join(dir, configName), cfg.JSON()); err != nil {
		return err
	}
	if cfg.Head != falcon.CausalLM {
		return nil
	}
	text, err := json.MarshalIndent(map[string]any{"_from_model_config": true, "bos_token_id": cfg.BOSTokenID, "eos_token_id": cfg.EOSTokenID}, "", "  ")
	if err != nil {
		return err
	}
	return writeText(fsys, filepath.Join(dir, generationName), append(text, '\n'))
}

func writeText(fsys storage.FS, path string, text []byte) error {
	return storage.WriteFile(fsys, path, func(to io.Writer) error {
		_, err := to.Write(text)
		return err
	})
}

// padNames are special tokens that no rendering of a conversation contains, in the order of preference.
var padNames = []string{"<|pad|>", "<pad>", "[PAD]", ">>MIDDLE<<", ">>UNUSED_1<<"}

// Padded is cfg with a padding id that never occurs in data, for a model with a score head. Transformers reads such a model at the
// last token that is not padding, so with EOD for padding it would read the token before EOD.
func Padded(cfg falcon.Config, tok *tokenizer.Tokenizer) falcon.Config {
	eod, hasEOD := tok.EOD()
	isEOD := func(id *int) bool { return id != nil && hasEOD && *id == int(eod) }
	if cfg.Head != falcon.SequenceClassification || cfg.PadTokenID != nil && !isEOD(cfg.PadTokenID) {
		return cfg
	}
	if id := tok.VocabSize(); id < cfg.VocabSize { // rows that fill up the vocabulary
		cfg.PadTokenID = &id
		return cfg
	}
	for _, name := range padNames {
		if id, ok := tok.ID(name); ok && int(id) < cfg.VocabSize {
			pad := int(id)
			cfg.PadTokenID = &pad
			return cfg
		}
	}
	return cfg
}
