package hosted

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/llm-speed/llm-speed/drivers"
)

// endpoint is a provider of a model, as OpenRouter's /models/{model}/endpoints lists it.
type endpoint struct {
	Provider string `json:"provider_name"` // as answers name it: "DeepInfra"
	Tag      string `json:"tag"`           // as requests name it: "deepinfra/fp8"
	Quant    string `json:"quantization"`
	Context  int    `json:"context_length"`
}

// slug is the provider's name in requests, without what tells its endpoints apart.
func (e endpoint) slug() string {
	s, _, _ := strings.Cut(e.Tag, "/")
	return s
}

// named reports whether a user's word means this provider.
func (e endpoint) named(word string) bool {
	return strings.EqualFold(word, e.Tag) || strings.EqualFold(word, e.slug()) || strings.EqualFold(word, e.Provider)
}

// pin reads the providers of the model, and holds on to the one that was asked for. Without one, the first answer decides.
func (s *session) pin(ctx context.Context, c drivers.Config) error {
	want, quant := option(c, providerOption), option(c, quantOption)
	s.quant = quant
	var out struct {
		Data struct {
			Endpoints []endpoint `json:"endpoints"`
		} `json:"data"`
	}
	model, _, _ := strings.Cut(s.model, ":") // variants (":free") share the list of their model
	_, err := s.client.JSON(ctx, http.MethodGet, s.prefix+"/models/"+model+"/endpoints", nil, &out)
	if err != nil && !tolerable(err) && !errors.Is(err, drivers.ErrAuth) {
		return err
	}
	s.endpoints = out.Data.Endpoints
	if want == "" {
		s.info.Metadata["provider"] = "of the first answer"
		return nil
	}
	s.pinned = provider{ask: want}
	for _, e := range s.endpoints {
		if e.named(want) && (quant == "" || strings.EqualFold(quant, e.Quant)) {
			s.use(e, want)
			break
		}
	}
	if s.pinned.answers == "" && len(s.endpoints) > 0 {
		var names []string
		for _, e := range s.endpoints {
			names = append(names, e.Tag)
		}
		return fmt.Errorf("option %s is %q; %s is served by %s", providerOption.Name, strings.TrimSpace(want+" "+quant), s.model, strings.Join(names, ", "))
	}
	s.info.Metadata["provider"] = s.pinned.ask
	return nil
}

// use holds on to an endpoint.
func (s *session) use(e endpoint, ask string) {
	s.pinned = provider{ask: strings.ToLower(ask), answers: e.Provider}
	if strings.EqualFold(ask, e.Provider) && e.slug() != "" {
		s.pinned.ask = e.slug()
	}
	if e.Quant != "" && e.Quant != "unknown" {
		s.info.Model.Quant = e.Quant
		s.info.WhyNot["model.quant"] = ""
		delete(s.info.WhyNot, "model.quant")
	}
	if e.Context > 0 {
		s.info.ContextMax = e.Context
	}
}

// provider is who serves: as requests name it, and as answers do.
type provider struct{ ask, answers string }

// known reports whether requests can name it.
func (p provider) known() bool { return p.ask != "" }

// learn holds on to the provider of the first answer, where none was asked for, and takes the answer's name of one that was.
func (s *session) learn(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if name == "" || s.pinned.answers != "" {
		return
	}
	ask := s.pinned.ask
	if ask == "" {
		ask = name
		for _, e := range s.endpoints {
			if strings.EqualFold(e.Provider, name) && e.slug() != "" {
				ask = e.slug()
				break
			}
		}
	}
	s.pinned = provider{ask: ask, answers: name}
}

// routing is the field that keeps requests with one provider.
func (s *session) routing() map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	route := map[string]any{"allow_fallbacks": false}
	if s.pinned.known() {
		route["only"] = []string{s.pinned.ask}
	}
	if s.quant != "" {
		route["quantizations"] = []string{s.quant}
	}
	return route
}
