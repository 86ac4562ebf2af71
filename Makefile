# The phone backup box. "make help" lists what there is. Only Go is needed, except where a target says more.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

T ?= 6m
ARGS ?=
RESTIC := .cache/bin/restic
# The first release that knows format version 2, for repositories of those who began then.
RESTIC014 := .cache/bin/restic-0.14
STOCK := $(RESTIC) $(RESTIC014)
export PATH := $(CURDIR)/.cache/bin:$(PATH)

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | while IFS=$$'\t' read -r a b; do printf '  make %-10s %s\n' "$$a" "$$b"; done

.PHONY: build
build: ## build bin/boxd, static
	CGO_ENABLED=0 go build -trimpath -o bin/boxd ./cmd/boxd

# A program that holds libusb is linked statically against our own build of it, and so is free of what the machine has.
LINK := -s -w -linkmode external -extldflags "-static"
STATIC := -trimpath -tags libusb,netgo,osusergo -ldflags '$(LINK)'
CC_amd64 := $(if $(filter x86_64,$(shell uname -m)),gcc,x86_64-linux-gnu-gcc)
CC_arm64 := $(if $(filter aarch64,$(shell uname -m)),gcc,aarch64-linux-gnu-gcc)
# with-usb runs the go command for a processor, with libusb. The flags tell go's build cache where libusb lies, which what
# pkg-config says does not: another clone's gousb would be taken from the cache, with that clone's path in it.
with-usb = PKG_CONFIG_LIBDIR=$(CURDIR)/.cache/libusb/$(1) CGO_LDFLAGS="-O2 -g -L$(CURDIR)/.cache/libusb/$(1)" CGO_ENABLED=1 GOOS=linux GOARCH=$(1) CC=$(CC_$(1)) go

ARCH ?= $(shell go env GOARCH)

.PHONY: build-usb
build-usb: ## build bin/boxd with phones over USB, static (ARCH=arm64: bin/arm64/boxd for a Pi); needs a C compiler, and Debian's sources or libusb
	@if image/libusb/build $(ARCH); then \
		$(call with-usb,$(ARCH)) build $(STATIC) -o $(if $(filter $(shell go env GOARCH),$(ARCH)),bin/boxd,bin/$(ARCH)/boxd) ./cmd/boxd; \
	elif [ $(ARCH) = "$$(go env GOARCH)" ] && pkg-config --exists libusb-1.0; then \
		echo "using this machine's libusb instead: bin/boxd will run on machines that have it"; \
		CGO_ENABLED=1 go build -trimpath -tags libusb -o bin/boxd ./cmd/boxd; \
	else \
		echo "build-usb: no libusb (Debian, Ubuntu: apt install libusb-1.0-0-dev pkgconf; Fedora: dnf install libusb1-devel pkgconf)" >&2; exit 1; \
	fi

# What each drive carries to be read without the box: no phones, no cloud, no web pages.
RESCUE := linux/amd64/rescue-linux linux/arm64/rescue-linux-arm darwin/arm64/rescue-mac darwin/amd64/rescue-mac-intel windows/amd64/rescue-windows.exe
RESCUE_MOST := 12000000

.PHONY: rescue
rescue: ## build bin/rescue, the programs that every drive carries, for Linux, macOS and Windows
	@for target in $(RESCUE); do \
		IFS=/ read -r os arch name <<<"$$target"; \
		GOOS=$$os GOARCH=$$arch CGO_ENABLED=0 go build -tags rescue $(SAME) -ldflags "-s -w -buildid= -X main.version=$(VERSION)" -o "bin/rescue/$$name" ./cmd/boxd; \
		size=$$(wc -c <"bin/rescue/$$name"); echo "bin/rescue/$$name: $$size bytes"; \
		if [ "$$size" -gt $(RESCUE_MOST) ]; then echo "more than $(RESCUE_MOST) bytes: drives are for backups" >&2; exit 1; fi; \
	done

ifndef VERSION
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
endif
IMAGE := bin/boxd-$(VERSION)-rpi.img
# Nothing of where and when it was built goes into what the card gets: two builds are the same bytes.
SAME := -trimpath -buildvcs=false
# How hard xz tries: 47 MB with -6, 55 MB with -1 in a third of the time.
XZ ?= -6
# The programs of the card and where they lie in its root. boxd looks for rescue/ beside itself.
ON_CARD := user/boxd=bin/arm64/boxd gokrazy/init=bin/arm64/init sbin/e2fsck=.cache/programs/arm64/e2fsck sbin/mke2fs=.cache/programs/arm64/mke2fs \
	sbin/fsck.exfat=.cache/programs/arm64/fsck.exfat sbin/fsck.vfat=.cache/programs/arm64/fsck.fat \
	$(foreach target,$(RESCUE),user/rescue/$(notdir $(target))=bin/rescue/$(notdir $(target)))

# Who may sign updates for what is built, and its place among the releases; without the first, boxd takes no updates.
UPDATE_KEY ?=
UPDATE_COUNTER ?=
RELEASE = -X main.version=$(VERSION) -X main.updateKey=$(UPDATE_KEY) -X main.updateCounter=$(UPDATE_COUNTER)

.PHONY: card
card: rescue ## build bin/card.img, the card of a Raspberry Pi, as a card or QEMU reads it
	image/libusb/build arm64
	image/programs/build arm64
	image/wifi/build
	$(call with-usb,arm64) build $(SAME) -tags libusb,netgo,osusergo,timetzdata -ldflags '$(LINK) -buildid= $(RELEASE)' -o bin/arm64/boxd ./cmd/boxd
	GOOS=linux GOARCH=arm64 CGO_ENABLED=0 go build $(SAME) -ldflags '-s -w -buildid=' -o bin/arm64/init ./image/init
	go run ./image/pack $(foreach p,$(ON_CARD),--program $(p)) --licence libusb=.cache/libusb/arm64/COPYING \
		$(foreach p,e2fsprogs exfatprogs dosfstools glibc,--licence $(p)=.cache/programs/arm64/licences/$(p)) \
		$(foreach p,brcm80211 wireless-regdb,--licence $(p)=.cache/wifi/licences/$(p)) --radio .cache/wifi/firmware --version $(VERSION) --bill bin/card.cdx.json --out bin/card.img

.PHONY: image
image: card ## build bin/boxd-VERSION-rpi.img.xz, the card's image; needs an arm64 C compiler and Debian's tools, which it names
	@command -v xz >/dev/null || { echo "image: xz is missing (Debian: apt-get install xz-utils)" >&2; exit 1; }
	xz -T2 $(XZ) -c bin/card.img >$(IMAGE).xz.part # two threads always: with one it writes other bytes
	mv $(IMAGE).xz.part $(IMAGE).xz
	cp bin/card.cdx.json $(IMAGE).cdx.json
	cd bin && sha256sum $(notdir $(IMAGE)).xz >$(notdir $(IMAGE)).xz.sha256
	@cat $(IMAGE).xz.sha256; du -h $(IMAGE).xz

SOURCES_DIR ?=

.PHONY: image-sources
image-sources: ## gather the source of all that the image holds into bin/boxd-VERSION-rpi-sources.tar, to be passed on with it (SOURCES_DIR=FOLDER: what cannot be fetched here)
	@mkdir -p bin
	SOURCES_DIR="$(SOURCES_DIR)" image/sources/gather bin/boxd-$(VERSION)-rpi-sources.tar
	@du -h bin/boxd-$(VERSION)-rpi-sources.tar

.PHONY: update
update: card ## sign bin/boxd-VERSION.update, for a drive or the page (UPDATE_PRIVATE_KEY=FILE UPDATE_KEY=KEY UPDATE_COUNTER=N, see image/update/sign)
	@test -n "$(UPDATE_KEY)" -a -n "$(UPDATE_COUNTER)" || { echo "update: give UPDATE_KEY=, or the box that takes this update takes no other, and UPDATE_COUNTER=, one more than the last" >&2; exit 1; }
	go run ./image/update/sign -key "$(UPDATE_PRIVATE_KEY)" -image bin/card.img -version "$(VERSION)" -counter "$(UPDATE_COUNTER)" -out bin/boxd-$(VERSION).update

DEV ?=

.PHONY: flash
flash: ## write the box's card: make flash DEV=/dev/sdX (asks, refuses what is no card, reads back)
	@test -n "$(DEV)" || { echo "flash: which card? make flash DEV=/dev/sdX (lsblk lists what is there)" >&2; exit 2; }
	@$(MAKE) --no-print-directory card
	go build -o bin/flash ./image/flash
	@if [ -w "$(DEV)" ]; then bin/flash --device "$(DEV)"; else sudo bin/flash --device "$(DEV)"; fi

# Phones over USB need a C compiler and libusb's source; without, the box is built all the same, and says what it lacks.
.PHONY: run
run: ## the box on this Linux PC, phones over USB (ARGS="--drive DIR --drive DIR --key-file FILE", ARGS="--help")
	@if ! { command -v gcc && command -v pkg-config; } >/dev/null && command -v apt-get >/dev/null; then \
		echo "phones over USB need a C compiler: sudo apt-get install gcc libc6-dev pkgconf"; \
		[ ! -t 0 ] || sudo apt-get install gcc libc6-dev pkgconf || true; \
	fi
	@$(MAKE) --no-print-directory build-usb || { echo "built without USB, for the reason above: only folders can be backed up" >&2; $(MAKE) --no-print-directory build; }
	@bin/boxd run $(ARGS)

UDEV := /etc/udev/rules.d/70-boxd.rules

.PHONY: udev
udev: ## let whoever sits at this computer open phones: installs a udev rule, asks for sudo
	@echo "$(UDEV) is to say:"; sed 's/^/    /' cmd/boxd/70-boxd.rules
	sudo install -m 644 cmd/boxd/70-boxd.rules $(UDEV)
	sudo udevadm control --reload
	@echo "now plug the phone in again"

.PHONY: demo
demo: build ## a whole box in one process, nothing plugged in (ARGS="--once", ARGS="--photos DIR")
	bin/boxd demo $(ARGS)

$(RESTIC): .ci/tools/go.mod
	@mkdir -p .cache/bin
	cd .ci/tools && CGO_ENABLED=0 go build -trimpath -o ../../$(RESTIC) github.com/restic/restic/cmd/restic
	@touch $(RESTIC)

$(RESTIC014): .ci/tools014/go.mod
	@mkdir -p .cache/bin
	cd .ci/tools014 && CGO_ENABLED=0 go build -trimpath -o ../../$(RESTIC014) github.com/restic/restic/cmd/restic
	@touch $(RESTIC014)

.PHONY: test
test: $(STOCK) ## all tests, without cgo; builds stock restic first, the judge of our vault
	CGO_ENABLED=0 go test -timeout=20m $(ARGS) ./...
	CGO_ENABLED=0 go test -tags rescue $(ARGS) ./cmd/boxd

# Arithmetic on memory of its own, in one goroutine: the detector makes it some seven times slower and can find nothing in it.
QUIET := golang.org/x/crypto/scrypt golang.org/x/crypto/pbkdf2 golang.org/x/crypto/internal/poly1305 crypto/internal/fips140/sha256 \
	crypto/internal/fips140/aes github.com/klauspost/compress/zstd github.com/klauspost/compress/huff0 github.com/klauspost/compress/fse hash/crc32 image/jpeg
RACE = CGO_ENABLED=1 go test -race -timeout=40m $(QUIET:%=-gcflags=%=-race=false)

# Not here: packages that read pictures and pack cards (minutes, with next to nothing side by side), and tests that only count,
# run programs that were built without the detector, or repeat for many seeds what others do once under it.
.PHONY: race
race: $(STOCK) ## tests under the race detector; needs a C compiler
	$(RACE) -p=1 -skip '^Test(Wear|RescueProgram|Cost|KillAtAnyMoment|DriveAtARelatives|StockResticFindsNothing)$$' $(ARGS) ./cmd/boxd ./hal/... # they mind the time: one package at once
	$(RACE) -skip '^Test(ScryptMemory|ArrayNeverLies|NewDriveBringsRoom|PruneCutAtEveryWrite|CopyFromStockRestic|NoNightWritesMuchLedger|FoldedLedgerSaysTheSame|UnequalDrivesFillWell|LostDrivesPlusBadSectors|HealthSaysWhenARepairWouldEvenOut)$$' $(ARGS) \
		$$(go list ./... | grep -vE '/cmd/boxd$$|/hal|/vphone/samples$$|/image/(pack|update)')

.PHONY: lint
lint: ## gofmt, go vet, staticcheck
	@out=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')); if [ -n "$$out" ]; then echo "not gofmted:"; echo "$$out"; exit 1; fi
	go vet ./... ./.ci/bench ./.ci/scale
	go vet -tags rescue ./cmd/boxd
	go tool staticcheck ./... ./.ci/bench ./.ci/scale

.PHONY: vuln
vuln: ## known vulnerabilities in what we use; needs its database, says so when that cannot be reached
	@.ci/vuln

.PHONY: fuzz
fuzz: ## fuzz all targets, T=6m shared among them
	@.ci/fuzz $(T)

.PHONY: cover
cover: $(STOCK) ## statement coverage, in out/cover.html
	@mkdir -p out
	CGO_ENABLED=0 go test -coverpkg=./... -coverprofile=out/cover.txt ./...
	go tool cover -html=out/cover.txt -o out/cover.html
	go tool cover -func=out/cover.txt | tail -n 1

.PHONY: trace
trace: ## rewrite the golden light traces; read the diff as the owner would see it
	go test ./ui/led -update

# boxd and restic without assembly stand in for processors that have no instructions for AES and SHA-256, as the Pi 4's.
PLAIN := -tags purego,noasm

.PHONY: bench
bench: build $(RESTIC) ## boxd beside restic, borg and rsync in one run (ARGS="-scale 0.1 -runs 1" is quick, "-report docs" writes BENCHMARKS.md)
	CGO_ENABLED=0 go build -trimpath $(PLAIN) -o bin/plain/boxd ./cmd/boxd
	cd .ci/tools && CGO_ENABLED=0 go build -trimpath $(PLAIN) -o ../../bin/plain/restic github.com/restic/restic/cmd/restic
	go run ./.ci/bench -boxd bin/boxd -restic $(RESTIC) -plain-boxd bin/plain/boxd -plain-restic bin/plain/restic $(ARGS)

SCALE := $(CURDIR)/out/scale

.PHONY: scale
scale: build ## boxd on a vault of a million files, 1.5 million blobs and 200,000 packs (13 GB of room, 2 million inodes)
	rm -rf $(SCALE)
	go test ./storage/vault -count=1 -timeout=1h -run TestScaleVault -scale $(SCALE)
	go build -o bin/scale ./.ci/scale
	bin/scale -build $(SCALE)
	bin/scale -boxd bin/boxd $(SCALE)
	rm -rf $(SCALE)

.PHONY: e2e-all
e2e-all: build $(STOCK) ## the demo, start to end, every test anew, phones in QEMU with all there is, and 20 power cuts in QEMU
	bin/boxd demo --once
	CGO_ENABLED=0 go test -count=1 ./...
	CGO_ENABLED=0 go test -count=1 ./storage/vault -run RepositoriesOfStock -stock-all
	$(MAKE) rescue
	CGO_ENABLED=0 go test -count=1 ./cmd/boxd -v -run RescueElsewhere -rescue $(CURDIR)/bin/rescue # Debian: qemu-user wine64 gcc-mingw-w64-x86-64
	$(MAKE) e2e ARGS="-all"
	$(MAKE) vm ARGS="-rounds 20"
	$(MAKE) board ARGS="-all -report $(CURDIR)/docs/E2E.md"

.PHONY: e2e
e2e: ## phones that we did not write, and clients that we did not write with ours, in QEMU; needs an arm64 C compiler and Debian's packages
	image/libusb/build amd64
	$(call with-usb,amd64) vet -tags libusb ./usbhost/libusb ./cmd/boxd ./image/phones
	$(call with-usb,amd64) tool staticcheck -tags libusb ./usbhost/libusb ./cmd/boxd ./image/phones
	go test -count=1 -timeout=30m ./image/phones -vm -v $(ARGS)

# The card is that of make image, but for a key of its own that signs the updates of its scenarios.
BOARD_KEY := .cache/board/update.pem

.PHONY: board
board: $(RESTIC) ## the whole box in QEMU, from the card's very image: phones, drives, power cuts, updates; needs Debian's tools, which it names
	@mkdir -p $(dir $(BOARD_KEY)); [ -e $(BOARD_KEY) ] || openssl genpkey -algorithm ed25519 -out $(BOARD_KEY)
	$(MAKE) card UPDATE_COUNTER=1 UPDATE_KEY="$$(go run ./image/update/sign -key $(BOARD_KEY) -public)"
	go test -count=1 -timeout=2h ./image/board -vm -v $(ARGS)

.PHONY: vm
vm: ## init, and the drives' code, in QEMU, on the box's kernel and real ext4, exFAT and FAT, with power cuts (ARGS="-rounds 20 -seed 7")
	go test -count=1 -timeout=10m ./image/init -vm -v $(filter -short,$(ARGS))
	go test -count=1 -timeout=3h ./image/drives -vm -v $(ARGS)

.PHONY: soak
soak: $(STOCK) ## for a long night: 20,000 lives of a vault, power cuts in every write, the tests ten times under the race detector, an hour of fuzzing
	CGO_ENABLED=0 go test -timeout=6h ./cmd/boxd -run AgainstModel -seeds 20000 -from-seed 60
	CGO_ENABLED=0 go test -timeout=1h ./cmd/boxd -run 'Rekey|SealingAnew' -every-step
	CGO_ENABLED=0 go test -timeout=6h ./cmd/boxd -run PowerFailsInEvery -every-cut -seeds 1000
	CGO_ENABLED=0 go test -timeout=3h ./cmd/boxd -run StockResticFindsNothing -stock-seeds 200
	CGO_ENABLED=0 go test -timeout=3h ./storage/array -run PowerFailsInUpheavals -seeds 100
	CGO_ENABLED=0 go test -timeout=3h ./storage/vault -seeds 100 -stock-all
	CGO_ENABLED=0 go test -timeout=3h ./usbhost/mtp -run 'UnpluggedAtAnyByte|HostilePhones' -cuts 10000 -hostiles 100000
	CGO_ENABLED=0 go test ./cmd/boxd -run TestWear -wear-nights 230
	$(MAKE) scale
	CGO_ENABLED=1 go test -race -count=10 -timeout=3h ./...
	.ci/fuzz 60m

.PHONY: clean
clean: ## remove what was built
	rm -rf bin out .cache
