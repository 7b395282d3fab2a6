package source

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
)

var (
	gzipMagic    = []byte{0x1f, 0x8b}
	zstdMagic    = []byte{0x28, 0xb5, 0x2f, 0xfd}
	parquetMagic = []byte("PAR1")
	utf8BOM      = []byte{0xef, 0xbb, 0xbf}
	utf16BOMs    = [][]byte{{0xff, 0xfe}, {0xfe, 0xff}}
)

// maxWindow bounds what decoding a zstd file may hold, bytes: the zstd tool's own limit.
const maxWindow = 128 << 20

// stream is an open data file: its text after decompression, and the hash of its bytes on disk.
type stream struct {
	path    string
	file    *os.File
	raw     io.Reader // the file, hashed while it is read
	sum     hash.Hash
	text    *bufio.Reader
	parquet bool // text then still holds the raw bytes
	closers []func()
}

func openStream(path string) (*stream, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrData)
	}
	s := &stream{path: path, file: f, sum: sha256.New()}
	s.raw = io.TeeReader(f, s.sum)
	if err := s.decode(); err != nil {
		s.close()
		return nil, s.fail(err)
	}
	return s, nil
}

// decode finds out how the file is packed from its first bytes, whatever its name says.
func (s *stream) decode() error {
	const buffer = 1 << 16
	packed := bufio.NewReaderSize(s.raw, buffer)
	head, err := packed.Peek(4)
	if err != nil && err != io.EOF {
		return err
	}
	var plain io.Reader = packed
	switch {
	case bytes.HasPrefix(head, gzipMagic):
		z, err := newGzipMembers(packed)
		if err != nil {
			return err
		}
		plain = z
	case bytes.HasPrefix(head, zstdMagic):
		z, err := zstd.NewReader(packed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
		if err != nil {
			return err
		}
		s.closers = append(s.closers, z.Close)
		plain = z
	case bytes.Equal(head, parquetMagic):
		s.parquet = true
	}
	s.text = bufio.NewReaderSize(plain, buffer)
	head, err = s.text.Peek(len(utf8BOM))
	if err != nil && err != io.EOF {
		return err
	}
	for _, bom := range utf16BOMs {
		if bytes.HasPrefix(head, bom) {
			return errors.New("the file is UTF-16: convert it to UTF-8")
		}
	}
	if bytes.Equal(head, utf8BOM) {
		_, err = s.text.Discard(len(utf8BOM))
		return err
	}
	return nil
}

// finish reads what is left of the file, so that the hash covers all of it.
func (s *stream) finish() (sum [32]byte, err error) {
	if _, err := io.Copy(io.Discard, s.raw); err != nil {
		return sum, s.fail(err)
	}
	s.sum.Sum(sum[:0])
	return sum, nil
}

func (s *stream) close() {
	for _, c := range s.closers {
		c()
	}
	s.file.Close()
}

func (s *stream) fail(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%s: the file ends too early, it is truncated or corrupt: %w: %w", s.path, err, ErrData)
	}
	return fmt.Errorf("%s: %w: %w", s.path, err, ErrData)
}
