module golambda

go 1.26.0

require (
	github.com/aws/aws-lambda-go v1.55.1
	github.com/yalue/onnxruntime_go v1.27.0
	goserve-peer v0.0.0
)

require google.golang.org/protobuf v1.36.12 // indirect

replace goserve-peer => ../goserve
