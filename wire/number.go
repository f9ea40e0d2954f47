package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/otto-edge/otto"
)

// DecodeNumber finds the number that a path leads to in a message of an
// application: a JSON number, or a string that is one.
func DecodeNumber(b []byte, path []otto.Step) (float64, error) {
	for _, step := range path {
		var err error
		if b, err = enter(b, step); err != nil {
			return 0, err
		}
	}
	text := strings.TrimSpace(string(b))
	if quoted := ""; len(text) > 0 && text[0] == '"' && json.Unmarshal(b, &quoted) == nil {
		text = quoted
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return 0, fmt.Errorf("%.40q is not a number", text)
	}
	return f, nil
}

func enter(b []byte, step otto.Step) (json.RawMessage, error) {
	if step.Key != "" {
		var object map[string]json.RawMessage
		if err := json.Unmarshal(b, &object); err != nil {
			return nil, fmt.Errorf("no object with .%s: %w", step.Key, err)
		}
		inner, ok := object[step.Key]
		if !ok {
			return nil, fmt.Errorf("nothing at .%s", step.Key)
		}
		return inner, nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, fmt.Errorf("no list: %w", err)
	}
	if step.Index >= len(list) {
		return nil, errors.New("the list is too short")
	}
	return list[step.Index], nil
}
