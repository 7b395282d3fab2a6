// Package packed opens data files, however they are packed: plain, gzip or zstd, told apart by their first bytes. Text is UTF-8.
package packed

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
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

// File is an open data file: its text after decompression, and the hash of its bytes on disk.
type File struct {
	Text    *bufio.Reader // the text, without a byte order mark; of a parquet file the raw bytes
	Parquet bool
	Raw     *os.File // for who must jump about in it

	hashed  io.Reader // the file, hashed while it is read
	sum     hash.Hash
	closers []func()
}

// Open opens a file and finds out how it is packed.
func Open(path string) (*File, error) {
	raw, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	f := &File{Raw: raw, sum: sha256.New()}
	f.hashed = io.TeeReader(raw, f.sum)
	if err := f.decode(); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// decode finds out how the file is packed from its first bytes, whatever its name says.
func (f *File) decode() error {
	const buffer = 1 << 16
	packed := bufio.NewReaderSize(f.hashed, buffer)
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
		f.closers = append(f.closers, z.Close)
		plain = z
	case bytes.Equal(head, parquetMagic):
		f.Parquet = true
	}
	f.Text = bufio.NewReaderSize(plain, buffer)
	head, err = f.Text.Peek(len(utf8BOM))
	if err != nil && err != io.EOF {
		return err
	}
	for _, bom := range utf16BOMs {
		if bytes.HasPrefix(head, bom) {
			return errors.New("the file is UTF-16: convert it to UTF-8")
		}
	}
	if bytes.Equal(head, utf8BOM) {
		_, err = f.Text.Discard(len(utf8BOM))
		return err
	}
	return nil
}

// Sum reads what is left of the file and gives the SHA-256 of all of it.
func (f *File) Sum() (sum [sha256.Size]byte, err error) {
	if _, err := io.Copy(io.Discard, f.hashed); err != nil {
		return sum, err
	}
	f.sum.Sum(sum[:0])
	return sum, nil
}

// Rewind goes back to the beginning of the raw bytes, for who has jumped about in them: Sum then reads them all.
func (f *File) Rewind() error {
	_, err := f.Raw.Seek(0, io.SeekStart)
	f.sum.Reset()
	return err
}

// Close closes the file.
func (f *File) Close() {
	for _, c := range f.closers {
		c()
	}
	f.Raw.Close()
}
