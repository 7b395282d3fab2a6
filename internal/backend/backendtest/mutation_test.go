package backendtest

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"unsafe"

	"alfred/internal/backend"
	"alfred/internal/backend/reference"
	"alfred/internal/tensor"
)

// wrong is the reference with a fault in its queue: the suite must find each.
type wrong struct {
	backend.Device
	fault func(inner backend.Queue) backend.Queue
}

func (d wrong) Stream() *backend.Stream {
	return backend.NewStream(d.fault(reference.New().Stream().Queue()), tensor.Float64)
}

// operations are all that a Queue has, with the number of tensors that each writes, and those that it adds to.
var operations = []struct {
	name   string
	writes int
	adds   []int
}{
	{"MatMul", 1, nil}, {"MatMulInput", 1, []int{0}}, {"MatMulWeight", 1, []int{0}}, {"SumRows", 1, []int{0}},
	{"LayerNorm", 3, nil}, {"LayerNormBackward", 3, []int{0, 1, 2}}, {"SplitQKV", 3, nil}, {"SplitQKVBackward", 1, nil},
	{"Attention", 2, nil}, {"AttentionBackward", 3, nil}, {"AttentionPaged", 2, nil},
	{"Gelu", 1, nil}, {"GeluBackward", 1, nil}, {"Embedding", 1, nil}, {"EmbeddingBackward", 1, []int{0}},
	{"LogProbStats", 1, nil}, {"LogProbMerge", 3, nil}, {"LogProbBackward", 2, []int{1}},
	{"Zero", 1, nil}, {"Copy", 1, nil}, {"Add", 1, nil}, {"GatherRows", 1, nil}, {"ScatterRows", 1, []int{0}}, {"AddRows", 1, []int{0}},
	{"SumSquares", 1, []int{0}}, {"AdamW", 4, []int{2, 3}},
	{"SampleBlocks", 2, nil}, {"SamplePick", 2, []int{1}}, {"SampleTruncated", 2, []int{1}},
}

// conformance runs the cases whose name begins with only, and returns the first thing that is wrong.
func conformance(d backend.Device, storage tensor.DType, only string) error {
	for _, g := range groups {
		b, err := newBench(d, benchBytes)
		if err != nil {
			return err
		}
		for _, c := range g.cases() {
			if !strings.HasPrefix(c.name, only) {
				continue
			}
			if _, err := b.run(c, storage, nil, false); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	return nil
}

// redirected is a queue whose operations go through an intercept.
type redirected struct{ intercept }

func (q redirected) Upload(dst tensor.Tensor, src backend.Host) { q.inner.Upload(dst, src) }
func (q redirected) Download(dst backend.Host, src tensor.Tensor) backend.Event {
	return q.inner.Download(dst, src)
}
func (q redirected) Enqueue(name string, reads, writes []tensor.Tensor, fn func() error) {
	q.inner.Enqueue(name, reads, writes, fn)
}
func (q redirected) Record() backend.Event   { return q.inner.Record() }
func (q redirected) WaitFor(e backend.Event) { q.inner.WaitFor(e) }
func (q redirected) Sync() error             { return q.inner.Sync() }

func TestSuiteFindsWrongElements(t *testing.T) {
	for _, op := range operations {
		for output := range op.writes {
			for _, last := range []bool{false, true} {
				d := intercepted(func(name string, writes []tensor.Tensor, run func()) {
					run()
					if name == op.name {
						spoil(writes[output], last)
					}
				})
				if conformance(d, tensor.Float64, op.name) == nil {
					t.Errorf("%s: nobody looks at output %d, last element %v", op.name, output, last)
				}
			}
		}
	}
}

func TestSuiteFindsWhatIsNotAdded(t *testing.T) {
	for _, op := range operations {
		for _, output := range op.adds {
			d := intercepted(func(name string, writes []tensor.Tensor, run func()) {
				if name == op.name {
					clear(memoryOf(writes[output]))
				}
				run()
			})
			if conformance(d, tensor.Float64, op.name) == nil {
				t.Errorf("%s: output %d may be overwritten instead of added to", op.name, output)
			}
		}
	}
}

func intercepted(around func(name string, writes []tensor.Tensor, run func())) backend.Device {
	return wrong{reference.New(), func(inner backend.Queue) backend.Queue {
		return redirected{intercept{inner, around}}
	}}
}

// spoil changes one element by a thousandth.
func spoil(x tensor.Tensor, last bool) {
	if x.Len() == 0 {
		return
	}
	i := 0
	if last {
		i = x.Len() - 1
	}
	memory := memoryOf(x)
	if x.DType() == tensor.Int32 {
		*(*int32)(unsafe.Pointer(&memory[4*i]))++
		return
	}
	v := (*float64)(unsafe.Pointer(&memory[8*i]))
	if math.IsInf(*v, 0) {
		*v = 0
	}
	*v = *v*1.001 + 1e-3
}

func memoryOf(x tensor.Tensor) []byte {
	if x.Absent() {
		return nil
	}
	return x.Buffer().(tensor.HostBuffer).Host()[x.Offset() : x.Offset()+x.Bytes()]
}

// altered is a queue that understands one thing wrongly.
type altered struct {
	backend.Queue
	fault string
}

// faults are what altered can get wrong, and the operations whose cases must show it.
var faults = map[string]string{
	"bias ignored": "MatMul", "residual ignored": "MatMul", "eps ignored": "LayerNorm", "no rotation": "SplitQKV", "rotated forward": "SplitQKVBackward",
	"scale ignored": "Attention", "alibi ignored": "Attention", "alibi ignored when paged": "AttentionPaged", "alibi ignored in backward": "AttentionBackward",
	"pages in order": "AttentionPaged", "first ignored": "Embedding", "first ignored in backward": "EmbeddingBackward",
	"head first ignored": "LogProbStats", "head scale ignored": "LogProbStats", "entropy gradient ignored": "LogProbBackward",
	"decay ignored": "AdamW", "step ignored": "AdamW", "gradient not scaled": "AdamW", "weight not written": "AdamW",
	"nothing banned in blocks": "SampleBlocks", "nothing banned in pick": "SamplePick", "nothing banned in truncated": "SampleTruncated",
	"top k ignored": "SampleTruncated", "top p ignored": "SampleTruncated", "greedy ignored": "SamplePick", "pick scale ignored": "SamplePick",
	"pick first ignored": "SamplePick",
}

func TestSuiteFindsMisunderstandings(t *testing.T) {
	for fault, op := range faults {
		d := wrong{reference.New(), func(inner backend.Queue) backend.Queue { return altered{inner, fault} }}
		if conformance(d, tensor.Float64, op) == nil {
			t.Errorf("%s: nobody notices", fault)
		}
	}
	if err := conformance(wrong{reference.New(), func(inner backend.Queue) backend.Queue { return altered{inner, "none"} }}, tensor.Float64, ""); err != nil {
		t.Errorf("without a fault: %v", err)
	}
}

// absentIf is t, or absent.
func absentIf(absent bool, t tensor.Tensor) tensor.Tensor {
	if absent {
		return tensor.Tensor{}
	}
	return t
}

func (q altered) MatMul(y, x, w tensor.Tensor, e backend.Epilogue) {
	e.Bias, e.Residual = absentIf(q.fault == "bias ignored", e.Bias), absentIf(q.fault == "residual ignored", e.Residual)
	q.Queue.MatMul(y, x, w, e)
}

func (q altered) LayerNorm(y, mean, rstd, x, gamma, beta tensor.Tensor, eps float64) {
	if q.fault == "eps ignored" {
		eps /= 2
	}
	q.Queue.LayerNorm(y, mean, rstd, x, gamma, beta, eps)
}

func (q altered) SplitQKV(query, key, value, qkv tensor.Tensor, r backend.Rotary) {
	r.Cos = absentIf(q.fault == "no rotation", r.Cos)
	q.Queue.SplitQKV(query, key, value, qkv, r)
}

func (q altered) SplitQKVBackward(dqkv, dq, dk, dv tensor.Tensor, r backend.Rotary) {
	if q.fault == "rotated forward" && !r.Sin.Absent() {
		a, _ := reference.New().Arena("negated", r.Sin.Bytes()+256)
		s := reference.New().Stream()
		s.Use(a)
		negated := s.Alloc(tensor.Float64, r.Sin.Dims()...)
		sin, _ := read(s, r.Sin)
		for i := range sin {
			sin[i] = -sin[i]
		}
		write(s, negated, sin)
		r.Sin = negated
	}
	q.Queue.SplitQKVBackward(dqkv, dq, dk, dv, r)
}

func (q altered) Attention(o, lse, query, key, value tensor.Tensor, seqs backend.Sequences, a backend.Attention) {
	if q.fault == "scale ignored" {
		a.Scale = 1
	}
	a.Bias = absentIf(q.fault == "alibi ignored", a.Bias)
	q.Queue.Attention(o, lse, query, key, value, seqs, a)
}

func (q altered) AttentionBackward(dq, dk, dv, do, o, lse, query, key, value tensor.Tensor, seqs backend.Sequences, a backend.Attention) {
	a.Bias = absentIf(q.fault == "alibi ignored in backward", a.Bias)
	q.Queue.AttentionBackward(dq, dk, dv, do, o, lse, query, key, value, seqs, a)
}

func (q altered) AttentionPaged(o, lse, query, keys, values tensor.Tensor, p backend.Pages, a backend.Attention) {
	a.Bias = absentIf(q.fault == "alibi ignored when paged", a.Bias)
	if q.fault == "pages in order" && p.Table.Len() > 0 {
		memory := memoryOf(p.Table)
		for i := range p.Table.Len() {
			*(*int32)(unsafe.Pointer(&memory[4*i])) = int32(i % (keys.Dim(0) / p.PageSize))
		}
	}
	q.Queue.AttentionPaged(o, lse, query, keys, values, p, a)
}

func (q altered) Embedding(y, table, ids tensor.Tensor, first int) {
	if q.fault == "first ignored" {
		first = 0
	}
	q.Queue.Embedding(y, table, ids, first)
}

func (q altered) EmbeddingBackward(dtable, dy, ids tensor.Tensor, first int) {
	if q.fault == "first ignored in backward" {
		first = 0
	}
	q.Queue.EmbeddingBackward(dtable, dy, ids, first)
}

func (q altered) LogProbStats(stats, h, w, targets tensor.Tensor, head backend.Head) {
	switch q.fault {
	case "head first ignored":
		head.First = 0
	case "head scale ignored":
		head.Scale = 1
	}
	q.Queue.LogProbStats(stats, h, w, targets, head)
}

func (q altered) LogProbBackward(dh, dw, h, w, targets, lse, entropy, dlogp, dentropy tensor.Tensor, head backend.Head) {
	dentropy = absentIf(q.fault == "entropy gradient ignored", dentropy)
	q.Queue.LogProbBackward(dh, dw, h, w, targets, lse, entropy, dlogp, dentropy, head)
}

func (q altered) AdamW(weight, master, m, v, grad tensor.Tensor, step backend.AdamWStep) {
	switch q.fault {
	case "decay ignored":
		step.WeightDecay = 0
	case "step ignored":
		step.Step = 1
	case "gradient not scaled":
		step.GradScale = 1
	case "weight not written":
		weight = master
	}
	q.Queue.AdamW(weight, master, m, v, grad, step)
}

func (q altered) SampleBlocks(blocks, stats, logits, banned tensor.Tensor, head backend.Head) {
	q.unban("nothing banned in blocks", banned)
	q.Queue.SampleBlocks(blocks, stats, logits, banned, head)
}

func (q altered) SamplePick(tokens, stats, logits, blocks, uniforms, banned tensor.Tensor, d backend.Draw) {
	q.unban("nothing banned in pick", banned)
	switch q.fault {
	case "greedy ignored":
		d.Greedy = false
	case "pick scale ignored":
		d.Scale = 1
	case "pick first ignored":
		d.First = 0
	}
	q.Queue.SamplePick(tokens, stats, logits, blocks, uniforms, banned, d)
}

func (q altered) SampleTruncated(tokens, stats, logits, uniforms, banned tensor.Tensor, d backend.Draw) {
	q.unban("nothing banned in truncated", banned)
	switch q.fault {
	case "top k ignored":
		d.TopK = 0
	case "top p ignored":
		d.TopP = 1
	}
	q.Queue.SampleTruncated(tokens, stats, logits, uniforms, banned, d)
}

func (q altered) unban(fault string, banned tensor.Tensor) {
	if q.fault == fault {
		for i, memory := 0, memoryOf(banned); i < banned.Len(); i++ {
			*(*int32)(unsafe.Pointer(&memory[4*i])) = -1
		}
	}
}
