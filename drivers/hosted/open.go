package hosted

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/apikey"
	"github.com/llm-speed/llm-speed/drivers/internal/limits"
)

// open checks key and model, which costs nothing, and generates nothing.
func (v service) open(ctx context.Context, c drivers.Config, _ drivers.Need) (drivers.Session, error) {
	contextMax, err := modelContext(c)
	if err != nil {
		return nil, err
	}
	if !apikey.Of(c, v.keys).IsSet() && c.URL == "" {
		return nil, fmt.Errorf("%w: %s wants a key; set %s in the environment", drivers.ErrAuth, v.title, v.keys)
	}
	client, prefix, err := v.client(c)
	if err != nil {
		return nil, err
	}
	s := &session{service: v, client: client, prefix: prefix, meter: limits.New(c.Clock), dropped: map[string]bool{}}
	if err := s.prepare(ctx, c, contextMax); err != nil {
		client.Close()
		return nil, client.Redact(v.explain(client.Base(), err))
	}
	return s, nil
}

func (s *session) prepare(ctx context.Context, c drivers.Config, contextMax int) error {
	models, err := list(ctx, s.client, s.prefix)
	if err != nil && !tolerable(err) {
		return err
	}
	m, err := choose(s.service, c.Model, models)
	if err != nil {
		return err
	}
	s.model = m.ID
	model := m.model()
	model.ContextMax, model.Loaded = cmp.Or(contextMax, model.ContextMax), true
	s.info = drivers.Info{
		Backend: s.service.name, URL: s.client.Base(), URLKind: s.client.URLKind(), Attached: true,
		Model: model, ContextMax: model.ContextMax,
		Template: drivers.NotKnown, CacheBlock: s.service.block,
		IgnoresEOS: s.service.exact != "", ColdAsked: s.service.cold != "",
		Metadata: map[string]string{"endpoint": "chat"},
		WhyNot:   map[string]string{"model.digest": "a hosted service shows no weights", "model.quant": "the service does not say"},
	}
	if s.service.prices != "" {
		s.info.Price = m.price(s.service.prices, s.client.Base()+s.prefix+"/models")
	}
	if s.client.Proxied() {
		s.info.Metadata["proxy"] = "yes: latencies hold its part, and rtt_ms is the way to it"
	}
	if s.service.pins {
		if err := s.pin(ctx, c); err != nil {
			return err
		}
	}
	s.info.Simulated = s.client.Simulated()
	return nil
}

// tolerable reports whether a service may be used although its list of models can't be read: gateways have none.
func tolerable(err error) bool {
	return !errors.Is(err, drivers.ErrUnreachable) && !errors.Is(err, drivers.ErrAuth) && !errors.Is(err, drivers.ErrOverloaded) && !errors.Is(err, drivers.ErrNoCredit) &&
		!errors.Is(err, drivers.ErrTimeout) && !errors.Is(err, drivers.ErrReset) && !errors.Is(err, context.Canceled) && !errors.Is(err, drivers.ErrRateLimited)
}

// explain says what to do about an error of Open.
func (v service) explain(base string, err error) error {
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.As(err, &untrusted):
		return fmt.Errorf("%s: %w; where a proxy or a gateway has a certificate of its own, SSL_CERT_FILE names the file of its authority", base, err)
	case errors.Is(err, drivers.ErrUnreachable):
		return fmt.Errorf("%s: %w; is there a way to it from here? HTTPS_PROXY is honoured", base, err)
	case errors.Is(err, drivers.ErrAuth):
		return fmt.Errorf("%s: %w; check %s", base, err, v.keys)
	case errors.Is(err, drivers.ErrOverloaded), errors.Is(err, drivers.ErrRateLimited):
		return fmt.Errorf("%s: %w; try again later", base, err)
	}
	return fmt.Errorf("%s: %w", base, err)
}
