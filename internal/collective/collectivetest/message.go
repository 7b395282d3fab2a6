package collectivetest

import (
	"bytes"
	"fmt"

	"alfred/internal/tensor"
)

// outstanding is how many messages every rank sends to every other one before anybody receives.
const outstanding = 200

// messages: a Send does not wait for its Recv, takes what the tensor holds at its place in the stream, and messages from one
// rank arrive in the order in which it sent them.
func messages(o opener, ranks int) error {
	kind := func(from, to, i int) (dtype tensor.DType, data []byte) {
		dtype = dtypes[i%len(dtypes)]
		return dtype, parts(dtype, lengths[i%5], ranks, uint64(1000+(from*ranks+to)*outstanding+i))[from]
	}
	return o.run(ranks, func(p *peer) error {
		for i := range outstanding {
			for to := range ranks {
				if to == p.rank {
					continue
				}
				dtype, data := kind(p.rank, to, i)
				x := p.put(dtype, data)
				p.group.Send(p.s, x.Tensor, to)
				p.s.Zero(x.Tensor) // the message is what x held before
			}
		}
		if err := p.s.Sync(); err != nil {
			return err
		}
		if _, err := p.group.Exchange(nil); err != nil { // everybody has sent, nobody has received
			return err
		}
		for from := ranks - 1; from >= 0; from-- {
			for i := range outstanding {
				if from == p.rank {
					continue
				}
				dtype, data := kind(from, p.rank, i)
				x := p.put(dtype, make([]byte, len(data)))
				p.group.Recv(p.s, x.Tensor, from)
				p.later(fmt.Sprintf("message %d of rank %d", i, from), x, data)
			}
		}
		return p.settle()
	})
}

// letter is what a rank brings to a round of Exchange: sometimes nothing, once a lot.
func letter(rank, round int) []byte {
	n := (rank*37 + round*11) % 53
	if round == 7 && rank == 0 {
		n = 1 << 20
	}
	return bytes.Repeat([]byte{byte(16*round + rank)}, n)
}

// exchange: all get the bytes of all. What a rank brought and what it got belongs to it alone afterwards.
func exchange(o opener, ranks int) error {
	return o.run(ranks, func(p *peer) error {
		for round := range 12 {
			mine := letter(p.rank, round)
			all, err := p.group.Exchange(mine)
			if err != nil {
				return err
			}
			if len(all) != ranks {
				return fmt.Errorf("%d letters from %d ranks", len(all), ranks)
			}
			for from, got := range all {
				if !bytes.Equal(got, letter(from, round)) {
					return fmt.Errorf("round %d: rank %d got %d bytes from rank %d, want %d of %d", round, p.rank, len(got), from, len(letter(from, round)), byte(16*round+from))
				}
			}
			if ranks == 1 { // a group of one hands back what it was given
				continue
			}
			for _, got := range append(all, mine) {
				for i := range got {
					got[i] = byte(p.rank)
				}
			}
			if _, err := p.group.Exchange(nil); err != nil {
				return err
			}
			for from, got := range all {
				if len(bytes.Trim(got, string([]byte{byte(p.rank)}))) > 0 {
					return fmt.Errorf("round %d: another rank writes into what rank %d got from rank %d", round, p.rank, from)
				}
			}
		}
		return nil
	})
}

// exchangeBesideStreams: the host exchanges bytes while operations are still under way on streams, and ranks wait for their
// streams at different times: only rank 0 prints the loss, say.
func exchangeBesideStreams(o opener, ranks int) error {
	return o.run(ranks, func(p *peer) error {
		for round := range 20 {
			all := parts(tensor.Float32, 33, ranks, uint64(30+round))
			x := p.put(tensor.Float32, all[p.rank])
			p.group.AllReduce(p.s, x.Tensor)
			if (p.rank+round)%2 == 0 {
				if err := x.holds(sum(tensor.Float32, all)); err != nil {
					return err
				}
			} else {
				p.later("all-reduce beside an exchange", x, sum(tensor.Float32, all))
			}
			got, err := p.group.Exchange(letter(p.rank, round))
			if err != nil {
				return err
			}
			for from := range got {
				if !bytes.Equal(got[from], letter(from, round)) {
					return fmt.Errorf("round %d: rank %d got another letter from rank %d", round, p.rank, from)
				}
			}
		}
		return p.settle()
	})
}
