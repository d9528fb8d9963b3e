package testenv

import (
	"os/exec"
	"testing"
)

// Chromium is the path of an installed Chromium or Chrome.
func Chromium(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	missing(t, "there is no Chromium: install the package chromium, or another that has the program chromium, chromium-browser or google-chrome")
	return ""
}
