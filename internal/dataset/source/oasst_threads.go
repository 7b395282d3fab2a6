package source

import "slices"

// tree applies Open-Assistant's own filters to a tree and emits what the use wants of it:
//
//	ForSFT      threads from the root to a leaf, ending on the assistant
//	ForRanking  prefixes ending on a prompter message with more than one ranked assistant reply
//	ForPrompts  every prefix ending on a prompter message
//
// A tree must be ready for export (prompts may also wait in the lottery), its root accepted by review, and its root's
// language wanted. A thread with a deleted, synthetic or rejected message is dropped, for ForRanking as far as the prompter's
// message: of the replies, deleted and rejected ones are taken out, synthetic ones are ranked like any other.
// (Open-Assistant's loader looks at the root's review only; its released files hold no rejected messages, the raw exports do.)
func (f *forest) tree(root *message) error {
	switch {
	case root.state != "ready_for_export" && !(f.Use == ForPrompts && root.state == "prompt_lottery_waiting"):
		f.tally.Drop(TreeState, 1)
		return nil
	case root.review == unreviewed:
		f.tally.Drop(NotReviewed, 1)
		return nil
	case root.review == rejected:
		f.tally.Drop(ReviewResult, 1)
		return nil
	case !f.keepsLanguage(root.language):
		f.tally.Drop(Language, 1)
		return nil
	}
	return f.walk(root, nil)
}

// walk visits the threads below a message depth first, in file order. path holds the message's ancestors.
func (f *forest) walk(m *message, path []*message) error {
	thread := append(path, m)
	if err := f.visit(thread); err != nil {
		return err
	}
	for _, reply := range m.replies {
		if err := f.walk(reply, thread); err != nil {
			return err
		}
	}
	return nil
}

func (f *forest) visit(thread []*message) error {
	last := thread[len(thread)-1]
	switch f.Use {
	case ForSFT:
		return f.fineTuningThread(thread)
	case ForRanking:
		if last.user {
			return f.rankedReplies(thread)
		}
	case ForPrompts:
		if last.user && f.clean(thread) {
			return f.emitThread(thread, func(*Record) {})
		}
	}
	return nil
}

// fineTuningThread emits a thread that ends on a leaf. Some trees end on prompter messages: these are cut off, and of
// several such siblings only the first stands for the thread, so that it is not repeated.
func (f *forest) fineTuningThread(thread []*message) error {
	n := len(thread)
	last := thread[n-1]
	switch {
	case len(last.replies) > 0:
		return nil
	case n == 1:
		f.tally.Drop(NoReply, 1)
		return nil
	case last.user && thread[n-2].replies[0] != last:
		f.tally.Note(SkippedPrompts, 1)
		return nil
	case !f.clean(thread):
		return nil
	}
	if last.user {
		n--
	}
	answer := thread[n-1]
	return f.emitThread(thread[:n-1], func(rec *Record) {
		rec.ID, rec.At = answer.id, answer.at
		rec.Response, rec.HasResponse = answer.text, true
	})
}

// rankedReplies emits the ranked replies to the last message of a thread.
func (f *forest) rankedReplies(thread []*message) error {
	var ranked []Alternative
	left := 0
	for _, reply := range thread[len(thread)-1].replies {
		switch {
		case reply.rank < 0:
		case reply.deleted || reply.review == rejected:
			left++
		default:
			ranked = append(ranked, Alternative{reply.text, reply.rank})
		}
	}
	slices.SortStableFunc(ranked, func(a, b Alternative) int { return a.Rank - b.Rank })
	switch {
	case len(ranked) < 2 || ranked[0].Rank == ranked[len(ranked)-1].Rank:
		f.tally.Drop(FewRanked, 1)
		return nil
	case !f.clean(thread):
		return nil
	}
	if left > 0 {
		f.tally.Note(RemovedReplies, left)
	}
	return f.emitThread(thread, func(rec *Record) {
		rec.Ranked = ranked
		rec.Response, rec.HasResponse = ranked[0].Text, true
	})
}

// clean reports whether a thread may be used, and counts it when not.
func (f *forest) clean(thread []*message) bool {
	for _, m := range thread {
		if m.deleted {
			f.tally.Drop(DeletedMessage, 1)
			return false
		}
	}
	for _, m := range thread {
		if m.synthetic {
			f.tally.Drop(SyntheticMessage, 1)
			return false
		}
	}
	for _, m := range thread {
		if m.review == rejected {
			f.tally.Drop(ReviewResult, 1)
			return false
		}
	}
	return true
}

// emitThread hands on a thread that ends on a prompter message.
func (f *forest) emitThread(thread []*message, fill func(*Record)) error {
	turns := make([]Turn, len(thread))
	for i, m := range thread {
		turns[i] = Turn{User: m.user, Text: m.text}
	}
	root, last := thread[0], thread[len(thread)-1]
	rec := &Record{ID: last.id, At: last.at, Language: root.language}
	rec.conversation("", turns)
	fill(rec)
	return f.yield(rec) // ids of messages are unique already
}
