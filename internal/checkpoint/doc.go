// Package checkpoint moves models and optimizer state between devices and files.
//
// A checkpoint is a directory named after its step, such as checkpoints/000020:
//
//	manifest.json          what is here: format, step, stage, layout, tensors, and size and SHA-256 of every file
//	state.json             the state of the training loop
//	policy/, value/, ...   a Hugging Face directory for each trained model
//	optimizer/policy/ ...  the optimizer's state: one set of safetensors files per kind (exp_avg, exp_avg_sq, master)
//
// Every tensor carries its Hugging Face name. Each rank writes the segments that it owns (param.Segment.Owner) to files of its
// own. With tensor size 1 a segment is a whole tensor and the model's folder loads in transformers as it is. Otherwise the
// metadata of each file say which rows or columns its tensors are, and Export joins them. Reading goes by names, rows and
// columns alone, so what was written under one layout is read under any other, bit for bit.
//
// A checkpoint is visible only when it is complete. It is written to a temporary directory; the manifest is its last file;
// everything is synced; one rename makes it appear. There is no pointer to the newest one: the directory with the highest step
// whose manifest and files verify is the checkpoint. Only then are older ones removed. All of that goes through the small
// interface of package storage, which tests make fail at every single operation.
package checkpoint

import "errors"

// Errors that end a run with an exit code of their own.
var (
	// ErrUnusable is the cause when a checkpoint or model cannot be used: it is damaged, incomplete, of another kind, or not there.
	ErrUnusable = errors.New("no usable checkpoint or model")
	// ErrNone is the cause when there is no checkpoint at all, good or bad. It wraps ErrUnusable.
	ErrNone error = none{}
	// ErrStorage is the cause when a checkpoint or model could not be written.
	ErrStorage = errors.New("storage error")
)

type none struct{}

func (none) Error() string { return "no checkpoint has been written yet" }
func (none) Unwrap() error { return ErrUnusable }
