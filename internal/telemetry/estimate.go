package telemetry

import "time"

// rate is the speed of something that is counted, as a moving average over the last observations. The zero rate is
// ready for use.
type rate struct {
	gap    time.Duration // observations nearer than this to the one before replace it
	points []point       // in order of time, at most window
}

type point struct {
	at   time.Time
	done float64
}

// window bounds the average: long enough to smooth responses of different lengths, short enough to follow a trend.
const window = 20

// observe notes that done units were done at a time. Going backward starts again.
func (r *rate) observe(at time.Time, done float64) {
	n := len(r.points)
	if n > 0 && (done < r.points[n-1].done || at.Before(r.points[n-1].at)) {
		r.points, n = r.points[:0], 0
	}
	if n >= 2 && at.Sub(r.points[n-2].at) < r.gap {
		r.points[n-1] = point{at, done}
		return
	}
	if n == window {
		copy(r.points, r.points[1:])
		r.points = r.points[:n-1]
	}
	r.points = append(r.points, point{at, done})
}

// perSecond returns the average speed, 0 when there is none yet.
func (r *rate) perSecond() float64 {
	if len(r.points) < 2 {
		return 0
	}
	first, last := r.points[0], r.points[len(r.points)-1]
	seconds := last.at.Sub(first.at).Seconds()
	if seconds <= 0 {
		return 0
	}
	return (last.done - first.done) / seconds
}

// remaining returns how long left units take at the average speed, and whether that can be said.
func (r *rate) remaining(left float64) (time.Duration, bool) {
	speed := r.perSecond()
	if speed <= 0 || left <= 0 {
		return 0, false
	}
	seconds := left / speed
	if seconds > float64(1<<33) { // 272 years: no estimate, and beyond a Duration soon after
		return 0, false
	}
	return time.Duration(seconds * float64(time.Second)).Round(time.Millisecond), true
}
