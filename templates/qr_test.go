package templates_test

import (
	"bytes"
	"image/png"
	"strings"
	"testing"

	"dunlin/templates"

	"rsc.io/qr"
)

// TestQR decodes the picture by the standard library, which checks its sums, and compares it with the code, module by
// module, over the sizes that links have.
func TestQR(t *testing.T) {
	for _, length := range []int{1, 20, 45, 46, 61, 62, 63, 84, 120, 200, 255, 400, 900, 1700, 2300} {
		text := ("https://x/" + strings.Repeat("aB3", 1000))[:length]
		code, err := qr.Encode(text, qr.M)
		if err != nil {
			t.Fatal(err)
		}
		data, err := templates.QR(text)
		if err != nil {
			t.Fatal(err)
		}
		img, err := png.Decode(bytes.NewReader(data))
		if err != nil {
			t.Fatalf("%d bytes: %v", length, err)
		}
		side := img.Bounds().Dx()
		if side != img.Bounds().Dy() || side < 328 {
			t.Fatalf("%d bytes: picture of %v", length, img.Bounds())
		}
		scale := max(2, 328/(code.Size+8))
		border := (side - scale*code.Size) / 2
		if border < 4*scale {
			t.Errorf("%d bytes: quiet zone of %d pixels is under 4 modules of %d", length, border, scale)
		}
		if length <= 1000 && len(data) > 9000 {
			t.Errorf("%d bytes: picture of %d bytes", length, len(data))
		}
		for y := range side {
			for x := range side {
				want := x >= border && y >= border && code.Black((x-border)/scale, (y-border)/scale)
				if r, _, _, _ := img.At(x, y).RGBA(); (r == 0) != want {
					t.Fatalf("%d bytes: pixel %d,%d black %v, want %v", length, x, y, r == 0, want)
				}
			}
		}
	}
	if _, err := templates.QR(strings.Repeat("x", 3000)); err == nil {
		t.Error("drew a code that no version holds")
	}
}

func BenchmarkQR(b *testing.B) {
	b.ReportAllocs()
	size := 0
	for b.Loop() {
		data, err := templates.QR(link)
		if err != nil {
			b.Fatal(err)
		}
		size = len(data)
	}
	b.ReportMetric(float64(size), "bytes")
}
