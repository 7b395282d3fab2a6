package packed

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
)

// gzipMembers reads the members of a gzip file, one after the other, as one text (RFC 1952, section 2.2). It goes from member to
// member itself to tell a file that is cut off from one with something else at its end.
type gzipMembers struct {
	packed *bufio.Reader
	member *gzip.Reader
}

func newGzipMembers(packed *bufio.Reader) (*gzipMembers, error) {
	member, err := gzip.NewReader(packed)
	if err != nil {
		return nil, err
	}
	member.Multistream(false)
	return &gzipMembers{packed, member}, nil
}

func (g *gzipMembers) Read(p []byte) (int, error) {
	for {
		n, err := g.member.Read(p)
		if err != io.EOF {
			return n, err
		}
		if n > 0 {
			return n, nil
		}
		switch head, err := g.packed.Peek(len(gzipMagic)); {
		case len(head) == 0:
			return 0, err // the end
		case !bytes.HasPrefix(gzipMagic, head): // a single byte may be the beginning of a member that is cut off
			return 0, errors.New("the gzip data are whole, but other bytes follow them: cut these off, or pack the file again")
		}
		if err := g.member.Reset(g.packed); err != nil {
			return 0, err
		}
		g.member.Multistream(false)
	}
}
