package checkpoint

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// Fingerprint is the SHA-256, in hexadecimal, of a model's configuration and weight files, names and contents: models with the same one
// compute the same.
func (m *Model) Fingerprint(ctx context.Context) (string, error) {
	weights, err := filepath.Glob(filepath.Join(escaped(m.Dir), "*.safetensors"))
	if err != nil {
		return "", err
	}
	slices.Sort(weights)
	sum := sha256.New()
	for _, path := range append([]string{filepath.Join(m.Dir, "config.json")}, weights...) {
		f, err := os.Open(path)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(sum, "%s\x00", filepath.Base(path))
		_, err = io.Copy(sum, stoppable{ctx, f})
		f.Close()
		if err != nil {
			return "", fmt.Errorf("%s: %w", path, err)
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// escaped is a path as a pattern that matches it alone.
func escaped(path string) string {
	var b []rune
	for _, r := range path {
		if slices.Contains([]rune(`*?[\`), r) {
			b = append(b, '\\')
		}
		b = append(b, r)
	}
	return string(b)
}

// stoppable is a reader that ends with its context.
type stoppable struct {
	ctx context.Context
	r   io.Reader
}

func (s stoppable) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.r.Read(p)
}
