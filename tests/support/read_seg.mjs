// Read a DICOM SEG with dcmjs, the library that OHIF reads it with: node read_seg.mjs FILE
// Prints JSON: the segments, and of each frame its segment, source instance, position (mm, LPS) and voxels by value.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const dcmjs = createRequire(`${process.env.NODE_PATH}/`)("dcmjs");
dcmjs.log.setLevel("error");
const bytes = readFileSync(process.argv[2]);
const file = dcmjs.data.DicomMessage.readFile(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
const seg = dcmjs.data.DicomMetaDictionary.naturalizeDataset(file.dict);
const list = (value) => (Array.isArray(value) ? value : [value]);
const packed = new Uint8Array(list(seg.PixelData)[0]);
const pixels = seg.BitsAllocated === 1 ? dcmjs.data.BitArray.unpack(packed) : packed;
const size = seg.Rows * seg.Columns;

const frames = list(seg.PerFrameFunctionalGroupsSequence).map((groups, frame) => {
  const voxels = {};
  for (let at = 0; at < size; at++) {
    const value = pixels[frame * size + at];
    if (value) {
      (voxels[value] ??= []).push(at);
    }
  }
  return {
    segment: list(groups.SegmentIdentificationSequence ?? [])[0]?.ReferencedSegmentNumber ?? null,
    instance: list(list(groups.DerivationImageSequence)[0].SourceImageSequence)[0].ReferencedSOPInstanceUID,
    position: list(groups.PlanePositionSequence)[0].ImagePositionPatient.map(Number),
    voxels,
  };
});
const segments = list(seg.SegmentSequence).map((segment) => ({
  number: segment.SegmentNumber,
  label: segment.SegmentLabel,
  code: list(segment.SegmentedPropertyTypeCodeSequence)[0].CodeValue,
}));
console.log(JSON.stringify({ rows: seg.Rows, columns: seg.Columns, type: seg.SegmentationType, segments, frames }));
