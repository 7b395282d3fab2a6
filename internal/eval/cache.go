package eval

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"alfred/internal/eval/task"
)

// Cache keeps a model's answers in a file, one JSON line each, so that what was asked once need not be asked again: by this evaluation
// after it was stopped, or by another. A line that was cut off by a crash is dropped when the file is opened.
type Cache struct {
	mu      sync.Mutex
	file    *os.File
	out     *bufio.Writer
	answers map[string]task.Answer
	// Dropped are the lines of the file that could not be read.
	Dropped int
}

// line is an answer in the file.
type line struct {
	Key    string  `json:"key"`
	Sum    float64 `json:"sum"`
	Greedy bool    `json:"greedy,omitempty"`
	Text   *string `json:"text,omitempty"`
}

// OpenCache opens or begins the cache of a model in a folder. Models that may answer differently have different files.
func OpenCache(folder string, d Description) (*Cache, error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	id := sha256.Sum256([]byte(fmt.Sprintf("%s\x00%s\x00%s\x00%s\x00%d", d.Source, d.Weights, d.TokenizerSHA, d.Precision, d.MaxLength)))
	path := filepath.Join(folder, hex.EncodeToString(id[:8])+".jsonl")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	c := &Cache{file: f, answers: map[string]task.Answer{}}
	if err := c.read(); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	c.out = bufio.NewWriter(f)
	return c, nil
}

func (c *Cache) read() error {
	in, whole := bufio.NewReader(c.file), int64(0)
	for {
		text, err := in.ReadBytes('\n')
		if err != nil && err != io.EOF {
			return err
		}
		var l line
		if err == io.EOF {
			if len(bytes.TrimSpace(text)) > 0 {
				c.Dropped++ // cut off
			}
			// What comes next begins a line of its own.
			if err := c.file.Truncate(whole); err != nil {
				return err
			}
			_, err := c.file.Seek(whole, io.SeekStart)
			return err
		}
		whole += int64(len(text))
		if json.Unmarshal(text, &l) != nil || l.Key == "" {
			c.Dropped++
			continue
		}
		a := task.Answer{LogLikelihood: l.Sum, Greedy: l.Greedy}
		if l.Text != nil {
			a.Text = *l.Text
		}
		c.answers[l.Key] = a
	}
}

// Len is the number of answers.
func (c *Cache) Len() int {
	if c == nil {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.answers)
}

func (c *Cache) get(key string) (task.Answer, bool) {
	if c == nil {
		return task.Answer{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.answers[key]
	return a, ok
}

// put keeps an answer. The line may wait in memory until flush.
func (c *Cache) put(key string, a task.Answer, generated bool) error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answers[key] = a
	l := line{Key: key, Sum: a.LogLikelihood, Greedy: a.Greedy}
	if generated {
		l.Text = &a.Text
	}
	text, err := json.Marshal(l)
	if err == nil {
		_, err = c.out.Write(append(text, '\n'))
	}
	return err
}

func (c *Cache) flush() error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.Flush()
}

// Close writes what is left.
func (c *Cache) Close() error {
	if c == nil {
		return nil
	}
	return errors.Join(c.flush(), c.file.Close())
}

// key names a request: tokens, and where scoring begins or how generation ends.
func (s Score) key() string { return keyOf("score", s.IDs, fmt.Sprint(s.From)) }

func (g Generate) key() string {
	return keyOf("generate", g.Prompt, fmt.Sprintf("%d %q", g.Most, g.Stop))
}

func keyOf(kind string, ids []int32, rest string) string {
	b := make([]byte, 0, 4*len(ids)+len(kind)+len(rest)+2)
	b = append(append(b, kind...), 0)
	b = append(append(b, rest...), 0)
	for _, id := range ids {
		b = binary.LittleEndian.AppendUint32(b, uint32(id))
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}
