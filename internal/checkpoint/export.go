package checkpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"alfred/internal/checkpoint/safetensors"
	"alfred/internal/checkpoint/storage"
	"alfred/internal/falcon"
	"alfred/internal/tensor"
	"alfred/internal/tokenizer"
)

// Export writes a model to a new Hugging Face directory that transformers loads: whole tensors, a modern configuration, and the
// tokenizer's files byte for byte. Weights are converted to precision, or stay as they are when it is Invalid (float16, which is
// not written, becomes float32, which holds it exactly). The directory appears whole or not at all; it must not exist, or be
// empty. Errors of writing wrap ErrStorage. A nil fsys is the operating system's.
func Export(fsys storage.FS, m *Model, out string, precision tensor.DType) (warnings []string, err error) {
	if fsys == nil {
		fsys = storage.OS
	}
	out = filepath.Clean(out)
	if warnings, err = export(fsys, m, out, precision); err != nil {
		return warnings, fmt.Errorf("checkpoint: export %s to %s: %w", m.Dir, out, err)
	}
	return warnings, nil
}

func export(fsys storage.FS, m *Model, out string, precision tensor.DType) (warnings []string, err error) {
	entries, err := fsys.ReadDir(out)
	taken := err == nil
	switch {
	case len(entries) > 0:
		return nil, errors.New("the directory is not empty: choose a new one")
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, storageError(err)
	}
	specs, err := m.exportSpecs(precision)
	if err != nil {
		return nil, err
	}
	assets, err := TokenizerFiles(m.Dir)
	if err != nil {
		return nil, err
	}
	cfg, warnings := m.exportConfig(specs)
	if err := storage.MkdirAll(fsys, filepath.Dir(out)); err != nil {
		return warnings, storageError(err)
	}
	temp := storage.TempName(out)
	if err := fsys.Mkdir(temp); err != nil {
		return warnings, storageError(err)
	}
	defer func() {
		if err != nil {
			fsys.RemoveAll(temp) // err is what the caller must hear
		}
	}()
	var r reader
	err = safetensors.WriteModel(fsys, temp, specs, 0, func(spec safetensors.Spec, to io.Writer) error {
		t := m.src.stored[spec.Name]
		return r.pieces(t, spec.DType, t.rows(), t.cols(), func(_, _ int, data []byte) error {
			_, err := to.Write(data)
			return err
		})
	})
	if err == nil {
		err = errors.Join(writeConfig(fsys, temp, cfg), copyAssets(fsys, temp, assets))
	}
	if err == nil && taken {
		err = fsys.Remove(out) // an empty directory; a rename would not replace it everywhere
	}
	if err == nil {
		err = storage.CommitDir(fsys, temp, out)
	}
	return warnings, storageError(err)
}

// exportSpecs lists the model's tensors as they will be written.
func (m *Model) exportSpecs(precision tensor.DType) (specs []safetensors.Spec, err error) {
	var all safetensors.DType
	if precision != tensor.Invalid {
		if all, err = fileType(precision); err != nil {
			return nil, err
		}
	}
	for _, want := range m.Config.Tensors() {
		dtype := all
		if dtype == "" {
			dtype = m.src.stored[want.Name].dtype
		}
		if dtype == safetensors.F16 {
			dtype = safetensors.F32
		}
		specs = append(specs, safetensors.Spec{Name: want.Name, DType: dtype, Shape: want.Shape})
	}
	return specs, nil
}

// exportConfig is the configuration for weights as specs say.
func (m *Model) exportConfig(specs []safetensors.Spec) (cfg falcon.Config, warnings []string) {
	cfg = m.Config
	cfg.DType = "float32"
	if specs[0].DType == safetensors.BF16 {
		cfg.DType = "bfloat16"
	}
	if cfg.Head != falcon.SequenceClassification {
		return cfg, nil
	}
	if tok, err := tokenizer.Load(filepath.Join(m.Dir, tokenizerName)); err == nil {
		cfg = Padded(cfg, tok)
	}
	if cfg.PadTokenID == nil {
		warnings = append(warnings, "no token is known that never occurs in data, so pad_token_id is not set: "+
			"transformers will score one sequence at a time only")
	}
	return cfg, warnings
}

// SHA256 identifies configuration and weights by their files' contents: the same on any machine and under any path.
func (m *Model) SHA256() (string, error) {
	var lines []string
	if m.Checkpoint != nil { // verified when it was opened
		for _, f := range m.Checkpoint.Manifest.Files {
			name, ok := strings.CutPrefix(f.Name, m.Name+"/")
			if ok && (name == configName || strings.HasSuffix(name, ".safetensors")) {
				lines = append(lines, name+" "+f.SHA256+"\n")
			}
		}
	} else {
		paths := []string{filepath.Join(m.Dir, configName)}
		for _, name := range m.src.names {
			for _, p := range m.src.stored[name].parts {
				if path := p.entry.Path(); !slices.Contains(paths, path) {
					paths = append(paths, path)
				}
			}
		}
		for _, path := range paths {
			sum, err := hashFile(path)
			if err != nil {
				return "", fmt.Errorf("checkpoint: hash %s: %w", path, err)
			}
			lines = append(lines, filepath.Base(path)+" "+sum+"\n")
		}
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "")))
	return hex.EncodeToString(sum[:]), nil
}
