package hal

import "testing"

func TestPercentIsNeverDarkAboveZero(t *testing.T) {
	for _, tt := range []struct {
		percent float64
		want    Level
	}{{-1, 0}, {0, 0}, {0.01, 1}, {1, 3}, {2, 5}, {50, 128}, {99.9, 255}, {100, 255}, {1e9, 255}} {
		if got := Percent(tt.percent); got != tt.want {
			t.Errorf("Percent(%v) = %d, want %d", tt.percent, got, tt.want)
		}
	}
}
