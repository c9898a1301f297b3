package sglang

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
)

// probeTime bounds a look at one port.
const probeTime = 1200 * time.Millisecond

func defaultURL() string { return fmt.Sprintf("http://127.0.0.1:%d", port) }

// detect looks at the URL that was given, or at the default port.
func detect(ctx context.Context, c drivers.Config) ([]drivers.Found, error) {
	url := c.URL
	if url == "" {
		url = defaultURL()
	}
	client, err := httpx.New(url, c.APIKey, nil, c.Clock, httpx.Beside("/v1"))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	f := drivers.Found{Backend: name, URL: client.Base(), Models: []drivers.Model{}}
	s, err := identify(ctx, client)
	switch {
	case errors.Is(err, drivers.ErrAuth) && strings.HasSuffix(client.Base(), fmt.Sprintf(":%d", port)):
		f.Note = "something wants a key here, and SGLang would say no more without it: --api-key"
		return []drivers.Found{f}, nil
	case errors.Is(err, drivers.ErrOverloaded) && c.URL == "":
		f.Note = "something answers that it is not ready, as SGLang does while it loads its model"
		return []drivers.Found{f}, nil
	case err != nil:
		return nil, nil // nothing here, or another kind of server
	}
	s.describe(ctx, client)
	f.Version = s.args.Text("version")
	if id, err := s.choose(""); err == nil {
		m, _ := s.about(client, id)
		f.Models = append(f.Models, m)
	}
	f.Usable = s.generates()
	switch {
	case !f.Usable:
		f.Note = "the model generates no text"
	case s.parallel() > 0:
		f.Note = fmt.Sprintf("up to %d streams at once", s.parallel())
	}
	return []drivers.Found{f}, nil
}

// generates reports whether the served model generates text; one that is not said to do something else does.
func (s *server) generates() bool {
	yes, said := s.model.Flag("is_generation")
	return yes || !said
}
