module github.com/otto-edge/otto

go 1.26
