package metric

import (
	"fmt"
	"math"
	"slices"
)

// classes are the different classes of the items in ascending order, of the gold ones and the predicted ones together.
func classes(items []Item) ([]float64, error) {
	var found []float64
	for i, item := range items {
		for _, class := range [2]float64{item.X, item.Y} {
			if class != math.Trunc(class) || math.IsInf(class, 0) { // NaN too
				return nil, fmt.Errorf("item %d has the class %g, which is no integer", i, class)
			}
			if place, ok := slices.BinarySearch(found, class); !ok {
				found = slices.Insert(found, place, class)
			}
		}
	}
	return found, nil
}

// f1 is sklearn.metrics.f1_score with its defaults: of class 1, where there are two classes at most and 1 is one of two.
func f1(items []Item) (float64, error) {
	cells, err := binaryCells(items)
	if err != nil {
		return 0, err
	}
	var counts [4]int
	for _, cell := range cells {
		counts[cell]++
	}
	return f1OfCounts(&counts), nil
}

// The cells of a table of two classes: 2 for a gold one, and 1 for a predicted one.
const (
	falsePositive = 1
	falseNegative = 2
	truePositive  = 3
)

// binaryCells is the cell of each item.
func binaryCells(items []Item) ([]uint8, error) {
	found, err := classes(items)
	if err != nil {
		return nil, err
	}
	if len(found) > 2 {
		return nil, fmt.Errorf("more than two classes: %g", found)
	}
	if len(found) == 2 && !slices.Contains(found, 1) {
		return nil, fmt.Errorf("the positive class 1 is none of %g", found)
	}
	return cellsOf(items, 1), nil
}

func cellsOf(items []Item, positive float64) []uint8 {
	cells := make([]uint8, len(items))
	for i, item := range items {
		if item.X == positive {
			cells[i] += falseNegative
		}
		if item.Y == positive {
			cells[i] += falsePositive
		}
	}
	return cells
}

// f1OfCounts is 2 TP / (gold + predicted), 0 where both are 0.
func f1OfCounts(counts *[4]int) float64 {
	gold := counts[falseNegative] + counts[truePositive]
	predicted := counts[falsePositive] + counts[truePositive]
	if gold+predicted == 0 {
		return 0
	}
	return 2 * float64(counts[truePositive]) / float64(gold+predicted)
}

// threeClassF1 is the mean of the F1 of classes 0, 1 and 2. lm-eval's cb_multi_fi takes gold for predicted, which F1 does not notice.
func threeClassF1(items []Item) (float64, error) {
	if _, err := classes(items); err != nil {
		return 0, err
	}
	sum := 0.0
	for class := range 3 {
		var counts [4]int
		for _, cell := range cellsOf(items, float64(class)) {
			counts[cell]++
		}
		sum += f1OfCounts(&counts)
	}
	return sum / 3, nil
}

// matthews is sklearn.metrics.matthews_corrcoef for any number of classes (Gorodkin 2004, doi:10.1016/j.compbiolchem.2004.09.006), 0 where
// it is not defined.
func matthews(items []Item) (float64, error) {
	table, err := newConfusion(items)
	if err != nil {
		return 0, err
	}
	for i := range items {
		table.add(i)
	}
	return table.matthews(len(items)), nil
}

// confusion has the margins of a table of gold and predicted classes, and its diagonal.
type confusion struct {
	gold, predicted   []int32 // class of each item, from 0
	golds, predicteds []int   // how many of each class
	correct           int
}

func newConfusion(items []Item) (*confusion, error) {
	found, err := classes(items)
	if err != nil {
		return nil, err
	}
	c := &confusion{golds: make([]int, len(found)), predicteds: make([]int, len(found))}
	for _, item := range items {
		gold, _ := slices.BinarySearch(found, item.X)
		predicted, _ := slices.BinarySearch(found, item.Y)
		c.gold, c.predicted = append(c.gold, int32(gold)), append(c.predicted, int32(predicted))
	}
	return c, nil
}

// empty is a table for the same items that counts on its own.
func (c *confusion) empty() *confusion {
	return &confusion{gold: c.gold, predicted: c.predicted, golds: make([]int, len(c.golds)), predicteds: make([]int, len(c.golds))}
}

func (c *confusion) add(item int) {
	gold, predicted := c.gold[item], c.predicted[item]
	c.golds[gold]++
	c.predicteds[predicted]++
	if gold == predicted {
		c.correct++
	}
}

func (c *confusion) clear() {
	clear(c.golds)
	clear(c.predicteds)
	c.correct = 0
}

func (c *confusion) matthews(n int) float64 {
	both, golds, predicteds := 0.0, 0.0, 0.0
	for class, g := range c.golds {
		p := c.predicteds[class]
		both += float64(g) * float64(p)
		golds += float64(g) * float64(g)
		predicteds += float64(p) * float64(p)
	}
	squared := float64(n) * float64(n)
	spread := (squared - predicteds) * (squared - golds)
	if spread == 0 {
		return 0
	}
	return (float64(c.correct)*float64(n) - both) / math.Sqrt(spread)
}
