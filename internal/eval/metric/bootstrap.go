package metric

import (
	"context"
	"fmt"
	"math"
	"runtime"

	"golang.org/x/sync/errgroup"

	"alfred/internal/eval/python"
)

const (
	// chunkSize is how many replicates lm-eval draws from one seed.
	chunkSize = 1000
	// maxReplicates keeps a wrong number from asking for all memory; lm-eval's default is 100,000.
	maxReplicates = 50_000_000
)

// replicate draws as many items as there are, with repetition, and aggregates them.
type replicate func(*python.Random) (float64, error)

// StdErr is the standard error that lm-eval reports with an aggregation. ok is false where it reports "N/A": for fewer than two items, for
// no iterations, and for aggregations without one. The mean has its closed form; the others are bootstrapped: the sample standard
// deviation of the given number of replicates, in chunks of at most 1000, chunk i from random.Random(i). What is left after the last
// whole chunk is not drawn. The replicates are lm-eval's own whatever the number of processors.
func (a Aggregation) StdErr(ctx context.Context, items []Item, iterations int) (stderr float64, ok bool, err error) {
	if iterations <= 0 || len(items) < 2 {
		return 0, false, nil
	}
	if a.standardError != nil {
		if stderr, err = a.standardError(items); err != nil {
			return 0, false, fmt.Errorf("metric: standard error of %s: %w", a.name, err)
		}
		return stderr, true, nil
	}
	if a.resampling == nil {
		return 0, false, nil
	}
	if iterations == 1 || iterations > maxReplicates {
		return 0, false, fmt.Errorf("metric: %s: a bootstrap takes 2 to %d iterations, not %d", a.name, maxReplicates, iterations)
	}
	resampling, err := a.resampling(items)
	if err != nil {
		return 0, false, fmt.Errorf("metric: %s: %w", a.name, err)
	}
	replicates, err := bootstrap(ctx, resampling, iterations)
	if err == nil {
		stderr, err = sampleDeviation(replicates)
	}
	if err != nil {
		return 0, false, fmt.Errorf("metric: bootstrap of %s: %w", a.name, err)
	}
	return stderr, true, nil
}

// bootstrap fills the replicates, each chunk in its place.
func bootstrap(ctx context.Context, resampling func() replicate, iterations int) ([]float64, error) {
	size := min(chunkSize, iterations)
	chunks := iterations / size
	replicates := make([]float64, chunks*size)
	workers := min(runtime.GOMAXPROCS(0), chunks)
	group, ctx := errgroup.WithContext(ctx)
	for worker := range workers {
		group.Go(func() error {
			draw := resampling()
			for chunk := worker; chunk < chunks; chunk += workers {
				random := python.NewRandom(int64(chunk))
				for i := chunk * size; i < (chunk+1)*size; i++ {
					if err := ctx.Err(); err != nil {
						return err
					}
					var err error
					if replicates[i], err = draw(random); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return replicates, nil
}

// resampleSum is for aggregations of the sum over a replicate and the number of its values that are not NaN.
func resampleSum(items []Item, skipNaN bool, of func(sum float64, n int) (float64, error)) (func() replicate, error) {
	return func() replicate {
		return func(r *python.Random) (float64, error) {
			sum, n := 0.0, 0
			for range items {
				if x := items[r.Choice(len(items))].X; !skipNaN || !math.IsNaN(x) {
					sum += x
					n++
				}
			}
			return of(sum, n)
		}
	}, nil
}

func resamplePerplexity(items []Item) (func() replicate, error) {
	return resampleSum(items, false, func(sum float64, n int) (float64, error) { return exp(-(sum / float64(n))) })
}

func resampleNaNMean(items []Item) (func() replicate, error) {
	return resampleSum(items, true, func(sum float64, n int) (float64, error) { return sum / float64(n), nil })
}

// resampleMedian counts how often each place of the sorted values is drawn, and finds the middle of the counts.
func resampleMedian(items []Item) (func() replicate, error) {
	sorted, rank, err := ranks(items)
	if err != nil {
		return nil, err
	}
	return func() replicate {
		counts := make([]int, len(items))
		return func(r *python.Random) (float64, error) {
			clear(counts)
			for range items {
				counts[rank[r.Choice(len(items))]]++
			}
			place, before := 0, counts[0]
			for before <= len(items)/2 {
				place++
				before += counts[place]
			}
			return sorted[place], nil
		}
	}, nil
}

// resampleF1 needs no classes of the replicate: what f1 takes of all items it takes of some.
func resampleF1(items []Item) (func() replicate, error) {
	cells, err := binaryCells(items)
	if err != nil {
		return nil, err
	}
	return func() replicate {
		return func(r *python.Random) (float64, error) {
			var counts [4]int
			for range cells {
				counts[cells[r.Choice(len(cells))]&3]++
			}
			return f1OfCounts(&counts), nil
		}
	}, nil
}

func resampleMatthews(items []Item) (func() replicate, error) {
	all, err := newConfusion(items)
	if err != nil {
		return nil, err
	}
	return func() replicate {
		table := all.empty()
		return func(r *python.Random) (float64, error) {
			table.clear()
			for range items {
				table.add(r.Choice(len(items)))
			}
			return table.matthews(len(items)), nil
		}
	}, nil
}
