package manifest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// The bounds on what is fetched.
const (
	maxManifest   = 64 << 10
	maxBundle     = 256 << 10
	maxRedirects  = 5
	listWithin    = 30 * time.Second // a manifest or a bundle, the whole of it
	archiveWithin = 3 * time.Minute
)

// fetcher gets files from servers that are not trusted.
type fetcher struct{ client *http.Client }

// newFetcher makes a client that follows few redirects, and none to an address that is not secure.
func newFetcher(transport http.RoundTripper) *fetcher {
	return &fetcher{client: &http.Client{Transport: transport, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if len(via) > maxRedirects {
			return fmt.Errorf("more than %d redirects", maxRedirects)
		}
		if !secure(r.URL) || via[0].URL.Scheme == "https" && r.URL.Scheme != "https" {
			return fmt.Errorf("redirected to %s, which is not https", r.URL.Redacted())
		}
		return nil
	}}}
}

// get reads at most most bytes from an address, within a time for all of it.
func (f *fetcher) get(ctx context.Context, address string, most int64, within time.Duration) ([]byte, error) {
	u, err := url.Parse(address)
	if err != nil || !secure(u) || u.User != nil {
		return nil, fmt.Errorf("%w: %q is no https address", ErrFetch, address)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("not complete within %s", within))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFetch, err)
	}
	req.Header.Set("User-Agent", "llm-speed")
	req.Header.Set("Cache-Control", "no-cache")
	resp, err := f.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s %w: %w", address, ErrFetch, causeOf(ctx, err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s %w: the server answers %s", address, ErrFetch, resp.Status)
	}
	if resp.ContentLength > most {
		return nil, fmt.Errorf("%s %w: the server announces %d bytes, %d at most", address, ErrTooLarge, resp.ContentLength, most)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	if err != nil {
		return nil, fmt.Errorf("%s %w: %w", address, ErrFetch, causeOf(ctx, err))
	}
	if int64(len(b)) > most {
		return nil, fmt.Errorf("%s %w: more than %d bytes", address, ErrTooLarge, most)
	}
	return b, nil
}

// causeOf tells a deadline of ours from other errors.
func causeOf(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)) {
		return cause
	}
	return err
}

// address gives the address of an archive: absolute, or beside the manifest.
func (e *Entry) address(manifest string) (string, error) {
	base, err := url.Parse(manifest)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrFetch, err)
	}
	u, err := base.Parse(e.URL)
	if err != nil {
		return "", fmt.Errorf("%w: %s: %w", ErrFormat, e.Key(), err)
	}
	return u.String(), nil
}
