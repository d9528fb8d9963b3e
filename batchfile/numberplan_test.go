package batchfile_test

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nyaruka/phonenumbers"

	"dunlin/batchfile"
)

// TestPhoneTablesAgree compares the tables with the library over every region: examples of every type, their
// neighbours (a digit changed, added, dropped), and random numbers, dialed from abroad and from the region itself.
func TestPhoneTablesAgree(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	tables := batchfile.NewPhoneTables()
	asked, decided := 0, 0
	agree := func(number, region string) {
		t.Helper()
		asked++
		got, known := tables.Lookup(number, region)
		if !known {
			return
		}
		decided++
		if want := tables.Library(number, region); got != want {
			t.Errorf("number %s dialed from %q: tables say %+v, library says %+v", number, region, got, want)
		}
	}
	for _, region := range regions() {
		code := "+" + strconv.Itoa(phonenumbers.GetCountryCodeForRegion(region))
		var nationals []string
		for kind := phonenumbers.FIXED_LINE; kind <= phonenumbers.VOICEMAIL; kind++ {
			if n := phonenumbers.GetExampleNumberForType(region, kind); n != nil {
				nationals = append(nationals, neighbours(rnd, phonenumbers.GetNationalSignificantNumber(n))...)
			}
		}
		for range 15 {
			nationals = append(nationals, digits(rnd, 4+rnd.IntN(9)))
		}
		for _, n := range nationals {
			agree(code+n, "")
			agree(code+n, "KW")
			agree(n, region)
			agree(strings.TrimPrefix(code, "+")+n, region)
		}
	}
	if decided < asked/3 {
		t.Errorf("the tables decided %d of %d numbers, want a third at least", decided, asked)
	}
	t.Logf("%d numbers, %d decided by the tables", asked, decided)
}

// TestPhoneTablesGulf goes through every block of the numbers that a Gulf file is full of.
func TestPhoneTablesGulf(t *testing.T) {
	t.Parallel()
	tables := batchfile.NewPhoneTables()
	for region, length := range map[string]int{"KW": 8, "SA": 9, "AE": 9, "BH": 8, "QA": 8, "OM": 8} {
		code := "+" + strconv.Itoa(phonenumbers.GetCountryCodeForRegion(region))
		for block := range 10_000 {
			if block%13 != 0 && block%100 != 50 { // some 800 blocks for each
				continue
			}
			n := strconv.Itoa(block)
			n = strings.Repeat("0", 4-len(n)) + n + strings.Repeat("7", length-4)
			for _, number := range []string{code + n, n} {
				got, known := tables.Lookup(number, region)
				if !known {
					continue
				}
				if want := tables.Library(number, region); got != want {
					t.Errorf("number %s of %s: tables say %+v, library says %+v", number, region, got, want)
				}
			}
		}
	}
}

func regions() []string {
	var all []string
	for r := range phonenumbers.GetSupportedRegions() {
		all = append(all, r)
	}
	slices.Sort(all)
	return all
}

func neighbours(rnd *rand.Rand, n string) []string {
	out := []string{n, n + "0", n[:len(n)-1]}
	for range 6 {
		b := []byte(n)
		for range 1 + rnd.IntN(3) {
			b[rnd.IntN(len(b))] = byte('0' + rnd.IntN(10))
		}
		out = append(out, string(b))
	}
	return out
}

func digits(rnd *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('0' + rnd.IntN(10))
	}
	return string(b)
}

func FuzzPhoneTables(f *testing.F) {
	for _, s := range []string{"+96550001234", "+12125550123", "+390612345678", "+4402071234567", "+80012345678", "0050001234", "96550001234", "1", "+06090700000"} {
		f.Add(s, "KW")
	}
	tables := batchfile.NewPhoneTables()
	f.Fuzz(func(t *testing.T, number, region string) {
		if strings.Trim(strings.TrimPrefix(number, "+"), "0123456789") != "" || strings.Trim(number, "+") == "" {
			return // not what the tables are asked about
		}
		if got, known := tables.Lookup(number, region); known {
			if want := tables.Library(number, region); got != want {
				t.Errorf("number %s from %q: tables say %+v, library says %+v", number, region, got, want)
			}
		}
	})
}
