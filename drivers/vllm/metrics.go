package vllm

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/llm-speed/llm-speed/drivers"
	"github.com/llm-speed/llm-speed/drivers/internal/httpx"
	"github.com/llm-speed/llm-speed/drivers/internal/prometheus"
)

// prefix begins the names of vLLM's metrics.
const prefix = "vllm:"

// lookTime bounds the calls that only look at a server: not to know is better than to wait.
const lookTime = 2 * time.Second

// The metrics that are read, newest name first. All engines and adapters of a server are added up: they share the machine.
func queryNames() []string {
	return []string{"vllm:prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries_total", "vllm:prefix_cache_queries", "vllm:gpu_prefix_cache_queries"}
}
func hitNames() []string {
	return []string{"vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total", "vllm:prefix_cache_hits", "vllm:gpu_prefix_cache_hits"}
}

func preemptNames() []string { return []string{"vllm:num_preemptions_total", "vllm:num_preemptions"} }

const (
	runningName = "vllm:num_requests_running"
	waitingName = "vllm:num_requests_waiting"
	cacheConfig = "vllm:cache_config_info"
)

func readMetrics(ctx context.Context, c *httpx.Client) (prometheus.Metrics, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	var text string
	if _, err := c.JSON(ctx, http.MethodGet, "/metrics", nil, &text); err != nil {
		return prometheus.Metrics{}, fmt.Errorf("ask /metrics: %w", err)
	}
	return prometheus.Parse(text), nil
}

// cacheStats are the prefix cache's counters, in tokens. vLLM before its engine V1 has none.
func cacheStats(m prometheus.Metrics) (drivers.CacheStats, error) {
	queried, ok1 := m.Tokens(nil, queryNames()...)
	hit, ok2 := m.Tokens(nil, hitNames()...)
	if !ok1 || !ok2 {
		return drivers.CacheStats{}, fmt.Errorf("%w: /metrics has no prefix cache counters", drivers.ErrProtocol)
	}
	return drivers.CacheStats{QueriedTokens: queried, HitTokens: hit}, nil
}

// activity is what the gauges say.
func activity(m prometheus.Metrics) drivers.Activity {
	number := func(name string) int {
		if n, ok := m.Tokens(nil, name); ok && n < 1e9 {
			return int(n)
		}
		return drivers.NotKnown
	}
	return drivers.Activity{Running: number(runningName), Waiting: number(waitingName)}
}

// usualBlock is the prompt cache's granularity in tokens where the server does not tell it.
const usualBlock = 16

// blockSize is the prompt cache's granularity in tokens.
func blockSize(m prometheus.Metrics) int {
	if n, err := strconv.Atoi(m.Label(cacheConfig, "block_size")); err == nil && n > 0 && n <= 1<<16 {
		return n
	}
	return usualBlock
}

// cacheMetadata keeps what the server says about its cache.
func cacheMetadata(m prometheus.Metrics, meta map[string]string) {
	for _, label := range []string{"block_size", "cache_dtype", "enable_prefix_caching", "num_gpu_blocks", "num_cpu_blocks", "gpu_memory_utilization", "swap_space_bytes"} {
		if v := m.Label(cacheConfig, label); v != "" && v != "None" {
			meta["cache_"+label] = v
		}
	}
	blocks, err := strconv.Atoi(m.Label(cacheConfig, "num_gpu_blocks"))
	if err == nil && blocks > 0 && blocks < 1<<40 && m.Label(cacheConfig, "block_size") != "" {
		meta["cache_tokens"] = strconv.Itoa(blocks * blockSize(m))
	}
}
