package safetensors

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"runtime/debug"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// File is one open safetensors file. Its methods and those of its entries may be called from several goroutines;
// Close may not run beside them.
type File struct {
	path     string
	file     *os.File
	data     []byte // the whole file, mapped; nil once closed
	header   *header
	position map[string]int // in header.entries
}

// Open maps a file and checks its header completely. The error says what is wrong where; nothing stays open then.
func Open(path string) (*File, error) {
	f, err := openAs(path, func(flag int) (*os.File, error) { return os.OpenFile(path, flag, 0) })
	if err != nil {
		return nil, fmt.Errorf("safetensors: open %s: %w", path, err)
	}
	return f, nil
}

// openAs opens with the given function and calls the file path in messages.
func openAs(path string, open func(flag int) (*os.File, error)) (_ *File, err error) {
	// Without O_NONBLOCK, opening a pipe would wait for its writer.
	file, err := open(os.O_RDONLY | syscall.O_NONBLOCK)
	if err != nil {
		return nil, plain(err)
	}
	f := &File{path: path, file: file, position: map[string]int{}}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	info, err := file.Stat()
	if err != nil {
		return nil, plain(err)
	}
	if info.IsDir() {
		return nil, errors.New("is a directory, not a file")
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("is not a regular file (%s)", info.Mode().Type())
	}
	if size := info.Size(); size > 0 { // mmap refuses an empty length
		f.data, err = unix.Mmap(int(file.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
		if err != nil {
			return nil, fmt.Errorf("map %d bytes: %w", size, err)
		}
	}
	err = withoutFaults(f.data, func() (err error) {
		f.header, err = parseHeader(f.data)
		return err
	})
	if err != nil {
		return nil, err
	}
	for i := range f.header.entries {
		f.header.entries[i].file = f
		f.position[f.header.entries[i].Name] = i
	}
	return f, nil
}

// withoutFaults turns a fault in the map, which is how the kernel reports a read error or a file that became shorter,
// into an error.
func withoutFaults(mapped []byte, run func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		cause := recover()
		if cause == nil {
			return
		}
		fault, ok := cause.(interface{ Addr() uintptr })
		start := uintptr(unsafe.Pointer(unsafe.SliceData(mapped)))
		if !ok || fault.Addr()-start >= uintptr(len(mapped)) {
			panic(cause)
		}
		err = fmt.Errorf("read error at byte %d: the disk failed or the file was cut short meanwhile", fault.Addr()-start)
	}()
	return run()
}

// plain drops the path from an error of package os: callers name the file themselves.
func plain(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

// Path returns the name that the file was opened with.
func (f *File) Path() string { return f.path }

// Names returns the tensors in the order of their data.
func (f *File) Names() []string {
	names := make([]string, len(f.header.entries))
	for i, entry := range f.header.entries {
		names[i] = entry.Name
	}
	return names
}

// Tensor returns the entry of a tensor, and whether there is one.
func (f *File) Tensor(name string) (Entry, bool) {
	i, ok := f.position[name]
	if !ok {
		return Entry{}, false
	}
	return f.header.entries[i], true
}

// Metadata returns a copy of the file's __metadata__; it is empty if there is none.
func (f *File) Metadata() map[string]string { return maps.Clone(f.header.metadata) }

// Close unmaps and closes the file. The slices that Data gave out become invalid: touching one afterwards kills
// the process. Entries themselves report an error from then on.
func (f *File) Close() error {
	var unmapErr error
	if f.data != nil {
		unmapErr = unix.Munmap(f.data)
		f.data = nil
	}
	if f.file == nil {
		return nil
	}
	closeErr := f.file.Close()
	f.file = nil
	if err := errors.Join(unmapErr, closeErr); err != nil {
		return fmt.Errorf("safetensors: close %s: %w", f.path, plain(err))
	}
	return nil
}
