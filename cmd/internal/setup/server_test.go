package setup_test

import (
	"strings"
	"testing"

	"dunlin/cmd/internal/setup"
)

// TestSavedCardsNeedTheSDK: the question for the digits stands on the page that holds the checkout, and nowhere else.
func TestSavedCardsNeedTheSDK(t *testing.T) {
	c := setup.Config{OttuURL: "https://m.example", OttuAPIKey: "k", OttuPGCodes: []string{"knet"}, PublicURL: "https://pay.example", MerchantName: "M",
		SavedCards: true}
	if err := c.NeedServer(); err == nil || !strings.Contains(err.Error(), "DUNLIN_OTTU_PUBLIC_KEY: is required for saved cards") {
		t.Errorf("without the public key: got %v", err)
	}
	c.OttuPublicKey = "p"
	if err := c.NeedServer(); err != nil {
		t.Errorf("with it: got %v", err)
	}
}
