package chart

import (
	"fmt"
	"image"
	"image/color"
	imagedraw "image/draw"
	"math"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
	shapes "golang.org/x/image/vector"
)

// raster draws on an image of pixels.
type raster struct {
	img    *image.RGBA
	scale  float64 // pixels of the image for one of the drawing
	colors [Styles + 5][3]byte
	fonts  [2]*opentype.Font // regular, bold
	faces  map[faceKey]font.Face
}

type faceKey struct {
	bold bool
	size float64
}

// newRaster makes an image of a size in pixels of the drawing.
func newRaster(width, height, scale float64, dark bool) (*raster, error) {
	r := &raster{scale: scale, colors: palette(dark), faces: map[faceKey]font.Face{}}
	for i, data := range [][]byte{goregular.TTF, gobold.TTF} {
		f, err := opentype.Parse(data)
		if err != nil {
			return nil, fmt.Errorf("read the built-in font: %w", err)
		}
		r.fonts[i] = f
	}
	r.img = image.NewRGBA(image.Rect(0, 0, int(math.Ceil(width*scale)), int(math.Ceil(height*scale))))
	imagedraw.Draw(r.img, r.img.Bounds(), image.NewUniform(r.color(ground, 1)), image.Point{}, imagedraw.Src)
	return r, nil
}

func (r *raster) color(p paint, opacity float64) color.NRGBA {
	c := r.colors[p]
	return color.NRGBA{c[0], c[1], c[2], uint8(math.Round(255 * opacity))}
}

// fill fills polygons together; what several of them cover is covered once.
func (r *raster) fill(polygons [][]pt, c color.NRGBA) {
	box := image.Rectangle{Min: image.Pt(math.MaxInt32, math.MaxInt32), Max: image.Pt(math.MinInt32, math.MinInt32)}
	for _, points := range polygons {
		for _, p := range points {
			x, y := p.x*r.scale, p.y*r.scale
			box.Min.X, box.Min.Y = min(box.Min.X, int(math.Floor(x))), min(box.Min.Y, int(math.Floor(y)))
			box.Max.X, box.Max.Y = max(box.Max.X, int(math.Ceil(x))+1), max(box.Max.Y, int(math.Ceil(y))+1)
		}
	}
	if box = box.Intersect(r.img.Bounds()); box.Empty() {
		return
	}
	z := shapes.NewRasterizer(box.Dx(), box.Dy())
	at := func(p pt) (x, y float32) {
		return float32(p.x*r.scale - float64(box.Min.X)), float32(p.y*r.scale - float64(box.Min.Y))
	}
	for _, points := range polygons {
		for i, p := range points {
			x, y := at(p)
			if i == 0 {
				z.MoveTo(x, y)
			} else {
				z.LineTo(x, y)
			}
		}
		z.ClosePath()
	}
	z.Draw(r.img, box, image.NewUniform(c), image.Point{})
}

func (r *raster) area(points []pt, p paint, opacity float64) {
	r.fill([][]pt{points}, r.color(p, opacity))
}

// line draws each piece as a rectangle, with a disc at each joint. All run the same way round, so that they add up.
func (r *raster) line(points []pt, p paint, width float64, dash []float64) {
	var polygons [][]pt
	for _, piece := range dashed(points, dash) {
		for i, to := range piece[1:] {
			from := piece[i]
			length := math.Hypot(to.x-from.x, to.y-from.y)
			if length == 0 {
				continue
			}
			nx, ny := -(to.y-from.y)/length*width/2, (to.x-from.x)/length*width/2
			polygons = append(polygons, []pt{{from.x - nx, from.y - ny}, {to.x - nx, to.y - ny}, {to.x + nx, to.y + ny}, {from.x + nx, from.y + ny}})
			if i > 0 && width > 1.5 {
				polygons = append(polygons, shape(0, from, width/2))
			}
		}
	}
	if len(polygons) > 0 {
		r.fill(polygons, r.color(p, 1))
	}
}

// dashed cuts a line into the pieces that are drawn.
func dashed(points []pt, dash []float64) [][]pt {
	if len(points) < 2 {
		return nil
	}
	if len(dash) == 0 {
		return [][]pt{points}
	}
	var pieces [][]pt
	phase, left := 0, dash[0]
	piece := []pt{points[0]}
	for i, to := range points[1:] {
		from := points[i]
		for {
			length := math.Hypot(to.x-from.x, to.y-from.y)
			if length <= left {
				left -= length
				if phase%2 == 0 {
					piece = append(piece, to)
				}
				break
			}
			cut := pt{from.x + (to.x-from.x)*left/length, from.y + (to.y-from.y)*left/length}
			if phase%2 == 0 {
				pieces = append(pieces, append(piece, cut))
			}
			phase++
			left = dash[phase%len(dash)]
			piece, from = []pt{cut}, cut
		}
	}
	if phase%2 == 0 && len(piece) > 1 {
		pieces = append(pieces, piece)
	}
	return pieces
}

func (r *raster) face(w write) font.Face {
	key := faceKey{w.bold, w.size}
	if f := r.faces[key]; f != nil {
		return f
	}
	of := r.fonts[0]
	if w.bold {
		of = r.fonts[1]
	}
	f, err := opentype.NewFace(of, &opentype.FaceOptions{Size: w.size * r.scale, DPI: 72, Hinting: font.HintingNone})
	if err != nil { // by its contract it fails for no font that was read
		return nil
	}
	r.faces[key] = f
	return f
}

func (r *raster) text(at pt, s string, w write) {
	face := r.face(w)
	if face == nil {
		return
	}
	d := font.Drawer{Dst: r.img, Src: image.NewUniform(r.color(w.paint, 1)), Face: face}
	s = printable(s)
	x := at.x*r.scale - w.anchor*float64(d.MeasureString(s))/64
	d.Dot = fixed.Point26_6{X: fixed.Int26_6(math.Round(x * 64)), Y: fixed.Int26_6(math.Round(at.y * r.scale * 64))}
	d.DrawString(s)
}
