package cli

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// mostConfig bounds what is read of a model's config.json.
const mostConfig = 4 << 20

// folderFor says which backends run the model that lies in a folder, by its config.json: weights quantised for one library are
// of no use to another. Nil where the path is no such folder.
func folderFor(model string) []string {
	if model == "" {
		return nil
	}
	f, err := os.Open(filepath.Join(model, "config.json"))
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, mostConfig))
	if err != nil {
		return nil
	}
	var config struct {
		Quantization json.RawMessage `json:"quantization"`
		Config       struct {
			Method string `json:"quant_method"`
		} `json:"quantization_config"`
	}
	if json.Unmarshal(b, &config) != nil {
		return nil
	}
	switch method := strings.ToLower(config.Config.Method); {
	case method == "exl2":
		return []string{"exllamav2"}
	case method == "exl3":
		return []string{"exllamav3"}
	case len(config.Quantization) > 0 && config.Quantization[0] == '{':
		return []string{"mlx"}
	}
	return []string{"vllm", "mlx"}
}
