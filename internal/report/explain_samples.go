package report

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/llm-speed/llm-speed/internal/record"
)

// sampleValues are the figure's values of single requests, pass by pass, where requests have it.
func (r rowView) sampleValues(name string) []string {
	of := map[string]func(record.Sample) *float64{
		"ttft_ms":     func(s record.Sample) *float64 { return s.TTFTms },
		"ttfa_ms":     func(s record.Sample) *float64 { return s.TTFAms },
		"prefill_tps": func(s record.Sample) *float64 { return s.PrefillTPS },
		"decode_tps":  func(s record.Sample) *float64 { return s.DecodeTPS },
		"max_gap_ms":  func(s record.Sample) *float64 { return s.MaxGapMs },
		"ttft_p95_ms": func(s record.Sample) *float64 { return s.TTFTms },
		"ttft_max_ms": func(s record.Sample) *float64 { return s.TTFTms },
		"turn_p50_ms": func(s record.Sample) *float64 { return s.WallMs },
		"turn_p95_ms": func(s record.Sample) *float64 { return s.WallMs },
		"wall_ms":     func(s record.Sample) *float64 { return s.WallMs },
	}[name]
	if of == nil {
		return nil
	}
	var values []string
	for _, s := range r.Samples {
		text := "–"
		if x := of(s); x != nil {
			text = strconv.FormatFloat(*x, 'f', 3, 64)
		} else if s.Reasons[name] != "" {
			text = "– (" + s.Reasons[name] + ")"
		}
		values = append(values, fmt.Sprintf("%d.%d: %s", s.Pass, s.Stream, text))
	}
	return values
}

// samples lists each timed request's stamps, relative to its own t_send, and counts.
func samples(p *page, r rowView) {
	if len(r.Samples) == 0 {
		return
	}
	p.line(plain, "")
	p.line(bold, "timed requests")
	p.wrapped(dim, "", "req: pass and stream; stamps in ms after the request's own t_send; t_send in ms on the run's clock; P, C, N: prompt, cached and output tokens with provenance; m: events with text; n1: tokens in the first of them; win: tokens known to fall in (t_1, t_L]")
	rows := [][]string{{"req", "t_send", "t_hdr", "t_1", "t_L", "P", "C", "N", "m", "n1", "win", "finish"}}
	for _, s := range r.Samples {
		rows = append(rows, []string{
			fmt.Sprintf("%d.%d", s.Pass, s.Stream), fixed(float64(s.SendNS) / 1e6), after(s, s.FirstByteNS), after(s, s.FirstNS), after(s, s.LastNS),
			countText(s.Prompt), countText(s.Cached), countText(s.Output), strconv.Itoa(s.Events), trim(s.FirstTokens), windowText(s),
			cmp.Or(s.Finish, "–"),
		})
	}
	grid(p, rows)
	for _, s := range r.Samples {
		if s.Error != "" {
			p.wrapped(red, fmt.Sprintf("  %d.%d ", s.Pass, s.Stream), s.Error)
		}
		if len(s.Flags) > 0 {
			p.wrapped(yellow, fmt.Sprintf("  %d.%d ", s.Pass, s.Stream), "flags: "+strings.Join(s.Flags, ", "))
		}
	}
	for _, why := range windowReasons(r.Samples) {
		p.wrapped(dim, "  win – ", why)
	}
	var server [][]string
	for _, s := range r.Samples {
		if s.ServerPrefill != nil || s.ServerDecode != nil {
			server = append(server, []string{fmt.Sprintf("%d.%d", s.Pass, s.Stream), spanText(s.ServerPrefill), spanText(s.ServerDecode)})
		}
	}
	if len(server) > 0 {
		p.line(plain, "")
		p.line(bold, "what the server says")
		grid(p, append([][]string{{"req", "prefill", "decode"}}, server...))
		if r.Server != nil && r.Server.Definition != "" {
			p.wrapped(dim, "", r.Server.Definition)
		}
	}
}

// windowReasons says why windows are unknown, each reason once with the requests that it is about.
func windowReasons(samples []record.Sample) []string {
	var order []string
	of := map[string][]string{}
	for _, s := range samples {
		why := s.Reasons["window_tokens"]
		if s.WindowKnown || why == "" {
			continue
		}
		if of[why] == nil {
			order = append(order, why)
		}
		of[why] = append(of[why], fmt.Sprintf("%d.%d", s.Pass, s.Stream))
	}
	for i, why := range order {
		order[i] = why + " (" + strings.Join(of[why], ", ") + ")"
	}
	return order
}

// batches lists each barrier release and its window.
func batches(p *page, r rowView) {
	if len(r.Batches) == 0 {
		return
	}
	p.line(plain, "")
	p.line(bold, "streams released together")
	rows := [][]string{{"pass", "streams", "w0 ms", "w1 ms", "tokens in [w0, w1]", "aggregate tok/s", "whole span tok/s", "parallel"}}
	for _, b := range r.Batches {
		rows = append(rows, []string{
			strconv.Itoa(b.Pass), strconv.Itoa(len(b.Streams)), fixed(float64(b.W0ns) / 1e6), fixed(float64(b.W1ns) / 1e6), trim(b.WindowTokens),
			pointer(b.AggregateTPS, b.Reason), pointer(b.SpanTPS, ""), strconv.Itoa(b.Parallelism),
		})
	}
	grid(p, rows)
}

// after is a stamp relative to the sample's t_send; – where it was never reached.
func after(s record.Sample, at int64) string {
	if at == 0 {
		return "–"
	}
	return strconv.FormatFloat(float64(at-s.SendNS)/1e6, 'f', 3, 64)
}

func windowText(s record.Sample) string {
	if !s.WindowKnown {
		return "–"
	}
	return trim(s.WindowTokens)
}

func spanText(s *record.ServerSpan) string {
	if s == nil {
		return "–"
	}
	return fmt.Sprintf("%d tokens in %.3f ms", s.Tokens, float64(s.NS)/1e6)
}
