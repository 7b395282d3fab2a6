package source

import "slices"

// finish links flat messages into trees and reads these. Siblings are in the order of the file. Every message either has its
// place in a tree or is counted: malformed, a duplicate, or below a message that is left out.
func (f *forest) finish() error {
	byID := make(map[string]*message, len(f.flat))
	kept := f.flat[:0]
	for _, m := range f.flat {
		if _, inTree := f.ids[m.id]; inTree || byID[m.id] != nil {
			f.tally.Drop(DuplicateID, 1)
			continue
		}
		byID[m.id] = m
		kept = append(kept, m)
	}
	var tops []*message // roots, and messages whose parent is not among the kept ones
	for _, m := range kept {
		if parent := byID[m.parent]; parent != nil {
			parent.replies = append(parent.replies, m)
		} else {
			tops = append(tops, m)
		}
	}
	known := func(id string) bool {
		_, inTree := f.ids[id]
		_, leftOut := f.leftOut[id]
		return inTree || leftOut
	}
	var roots []*message
	for _, m := range tops {
		var p *problem
		switch {
		case m.parent == "":
			p = fits(m, nil, 1)
		case known(m.parent):
			m.settled = true
			f.tally.Drop(BelowLeftOut, 1+settleBelow(m))
			continue
		default:
			p = problemf(Orphan, "message %s: its parent %s is not in the files", m.id, m.parent)
		}
		if p != nil {
			if err := f.refuse(m, p); err != nil {
				return err
			}
			continue
		}
		if err := f.settle(m, 1); err != nil {
			return err
		}
		roots = append(roots, m)
	}
	for _, m := range kept { // what hangs from no top hangs from itself
		if !m.settled {
			if err := f.tally.malformed(m.at, problemf(Cycle, "message %s: its ancestors form a circle", m.id)); err != nil {
				return err
			}
		}
	}
	for _, root := range roots {
		if err := f.tree(root); err != nil {
			return err
		}
	}
	return nil
}

// settle walks a linked tree, taking out what does not fit.
func (f *forest) settle(m *message, depth int) error {
	m.settled = true
	fitting := m.replies[:0]
	for _, reply := range m.replies {
		if p := fits(reply, m, depth+1); p != nil {
			if err := f.refuse(reply, p); err != nil {
				return err
			}
			continue
		}
		if err := f.settle(reply, depth+1); err != nil {
			return err
		}
		fitting = append(fitting, reply)
	}
	m.replies = fitting
	return nil
}

// refuse counts a linked message as malformed, and what hangs below it as left out with it.
func (f *forest) refuse(m *message, p *problem) error {
	m.settled = true
	if below := settleBelow(m); below > 0 {
		f.tally.Drop(BelowLeftOut, below)
	}
	return f.tally.malformed(m.at, p)
}

// settleBelow marks the descendants of a message as counted and returns their number.
func settleBelow(m *message) int {
	n := 0
	for pending := slices.Clone(m.replies); len(pending) > 0; {
		last := len(pending) - 1
		m, pending = pending[last], pending[:last]
		m.settled = true
		n++
		pending = append(pending, m.replies...)
	}
	return n
}
