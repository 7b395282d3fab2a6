package safetensors

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// ErrPickle marks the refusal of weights in a pickle file.
var ErrPickle = errors.New("pickle files run code when loaded and are never read")

// pickleExtensions are the names under which pickled weights are published.
var pickleExtensions = []string{".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"}

func isPickleName(name string) bool {
	return slices.Contains(pickleExtensions, strings.ToLower(filepath.Ext(name)))
}

// pickleError explains the refusal and the way out, which is to let transformers convert the model elsewhere.
func pickleError(found, dir string) error {
	return fmt.Errorf("%s: %w; convert the model once, in an environment whose loss would not matter: python -c "+
		"'from transformers import AutoModelForCausalLM as M; M.from_pretrained(%q, torch_dtype=\"auto\").save_pretrained(%q, safe_serialization=True)' "+
		"(AutoModelForSequenceClassification for a reward model)", found, ErrPickle, dir, filepath.Clean(dir)+"-safetensors")
}

// recognise names the files that are most often taken for safetensors, given one that is none: of at least 8 bytes
// that give no possible header length.
func recognise(file []byte) error {
	switch {
	case bytes.HasPrefix(file, []byte("PK\x03\x04")), file[0] == 0x80 && file[1] >= 2 && file[1] <= 5:
		return fmt.Errorf("the contents are those of a PyTorch file, whatever the name says: %w", ErrPickle)
	case bytes.HasPrefix(file, []byte("version ")):
		return errors.New("this is a Git LFS pointer, not the file itself: fetch it with `git lfs pull`")
	}
	return nil
}
