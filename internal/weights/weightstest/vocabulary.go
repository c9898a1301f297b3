package weightstest

import "strings"

// words that the model can say, each with a space before it.
const words = `the of and to in is that it was for on are with as his they be at one have this from or had by word but what
some we can out other were all there when up use your how said an each she which do their time if will way about many
then them write would like so these her long make thing see him two has look more day could go come did number sound no
most people my over know water than call first who may down side been now find any new work part take get place made
live where after back little only round man year came show every good me give our under name very through just form`

// The token types of the format.
const (
	normal  = 1
	control = 3
)

// vocabulary is a GPT-2 one: the 256 bytes, the specials, the words and what leads to them.
type vocabulary struct {
	tokens []string
	types  []int32
	merges []string
	said   []bool // the output may have it
	high   []bool // a byte of a UTF-8 character of several bytes
	ids    map[string]int
}

func (v *vocabulary) id(token string) int { return v.ids[token] }

func (v *vocabulary) add(token string, kind int32, said, high bool) {
	v.ids[token] = len(v.tokens)
	v.tokens = append(v.tokens, token)
	v.types = append(v.types, kind)
	v.said = append(v.said, said)
	v.high = append(v.high, high)
}

func newVocabulary() vocabulary {
	v := vocabulary{ids: map[string]int{}}
	for b := range 256 {
		v.add(string(letter(byte(b))), normal, b > ' ' && b < 0x7f, b >= 0x80)
	}
	for _, s := range []string{"<|endoftext|>", "<|bos|>", "<|im_start|>", "<|im_end|>"} {
		v.add(s, control, false, false)
	}
	for _, word := range strings.Fields(words) {
		// A word grows letter by letter from its space, so that no merge order can lead elsewhere.
		grown := string(letter(' '))
		for _, c := range word {
			next := grown + string(c)
			if _, known := v.ids[next]; !known {
				v.merges = append(v.merges, grown+" "+string(c))
				v.add(next, normal, false, false)
			}
			grown = next
		}
		v.said[v.ids[grown]] = true
	}
	return v
}

// letter is the character that stands for a byte in a GPT-2 vocabulary: itself where it is printable in Latin-1, else the
// next one from U+0100 on.
func letter(b byte) rune {
	printable := func(b int) bool { return b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae }
	if printable(int(b)) {
		return rune(b)
	}
	r := rune(0x100)
	for i := range int(b) {
		if !printable(i) {
			r++
		}
	}
	return r
}

// template is ChatML with tools, tool calls and tool results.
const template = `{%- set first = 0 -%}
{%- if tools -%}
{{- '<|im_start|>system\n' -}}
{%- if messages[0]['role'] == 'system' -%}
{%- set first = 1 -%}
{{- messages[0]['content'] + '\n\n' -}}
{%- endif -%}
{{- 'Tools:' -}}
{%- for tool in tools -%}
{{- '\n' + (tool | tojson) -}}
{%- endfor -%}
{{- '<|im_end|>\n' -}}
{%- endif -%}
{%- for message in messages -%}
{%- if loop.index0 >= first -%}
{{- '<|im_start|>' + message['role'] + '\n' -}}
{%- if message['content'] -%}
{{- message['content'] -}}
{%- endif -%}
{%- if message['tool_calls'] -%}
{%- for call in message['tool_calls'] -%}
{{- '\n<tool_call>' + ({'name': call['function']['name'], 'arguments': call['function']['arguments']} | tojson) + '</tool_call>' -}}
{%- endfor -%}
{%- endif -%}
{{- '<|im_end|>\n' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\n' -}}
{%- endif -%}
`
